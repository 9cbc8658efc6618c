"""Tests of secrets in AWS Secrets Manager, against moto's stand-in for the service."""

import socket
import sys

import boto3
import pytest
from moto import mock_aws

from demur.errors import SecretError, SecretUnavailableError
from demur.serve.secrets import Secrets, SecretSettings, SecretText
from demur.serve.secrets.aws import AwsConfig, AwsSource


@pytest.fixture
def aws(monkeypatch):
    """A client of an empty service in a region that the environment names."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("secretsmanager", region_name="eu-west-1")


@pytest.fixture
def refusing(aws, monkeypatch):
    """Maker of a source whose service answers with an error of that code."""
    from botocore.exceptions import ClientError

    def make(code):
        source = AwsSource()
        answer = {"Error": {"Code": code, "Message": "User: arn:aws:iam::1:user/x is not authorized"}}

        def refuse(**given):
            raise ClientError(answer, "GetSecretValue")

        monkeypatch.setattr(source._client(), "get_secret_value", refuse)
        return source

    return make


def test_a_secret_is_given_and_an_absent_one_is_none(aws):
    aws.create_secret(Name="KEY", SecretString="value")
    assert AwsSource().get("KEY") == "value"
    assert AwsSource().get("NONE") is None


def test_a_prefix_stands_before_each_name(aws):
    aws.create_secret(Name="prod/demur/KEY", SecretString="value")
    assert AwsSource(AwsConfig(prefix="prod/demur/")).get("KEY") == "value"


def test_a_secret_is_found_by_its_arn(aws):
    arn = aws.create_secret(Name="KEY", SecretString="value")["ARN"]
    assert Secrets(SecretSettings(sources={"aws": {}})).reveal(SecretText(f"${{secret:{arn}}}")) == "value"


def test_a_binary_secret_is_read_as_text(aws):
    aws.create_secret(Name="TEXT", SecretBinary="é".encode())
    aws.create_secret(Name="BYTES", SecretBinary=b"\xff\xfe")
    assert AwsSource().get("TEXT") == "é"
    with pytest.raises(SecretUnavailableError, match="'BYTES' in AWS is not UTF-8 text; store it as text"):
        AwsSource().get("BYTES")


def test_a_key_of_a_json_secret_is_taken_out(aws):
    aws.create_secret(Name="db", SecretString='{"username": "demur", "password": "p@ss", "port": 5432}')
    secrets = Secrets(SecretSettings(sources={"aws": {}}))
    url = SecretText("postgresql://${secret:db#username}:${secret:db#password}@host:${secret:db#port}/demur")
    assert secrets.reveal(url) == "postgresql://demur:p%40ss@host:5432/demur"


def test_a_rotated_secret_is_seen_after_its_time_and_the_one_before_is_accepted(aws, clock):
    aws.create_secret(Name="KEY", SecretString="one")
    secrets = Secrets(SecretSettings(sources={"aws": {}}, ttl_s=60), clock=clock)
    key = SecretText("${secret:KEY}")
    assert secrets.accepted(key) == ("one",)
    aws.put_secret_value(SecretId="KEY", SecretString="two")
    assert secrets.accepted(key) == ("one",)
    clock.now_s += 60
    assert secrets.reveal(key) == "two"
    assert secrets.accepted(key) == ("two", "one")


def test_the_version_before_is_accepted_for_the_time_of_grace_alone(aws):
    aws.create_secret(Name="KEY", SecretString="one")
    aws.put_secret_value(SecretId="KEY", SecretString="two")
    assert AwsSource().get("KEY", "previous") == "one"
    assert AwsSource(AwsConfig(grace_s=0)).get("KEY", "previous") is None


def test_a_secret_that_is_gone_or_was_never_rotated_has_no_version_before(aws):
    aws.create_secret(Name="KEY", SecretString="one")
    assert AwsSource().get("KEY", "previous") is None
    assert AwsSource().get("NONE", "previous") is None


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_is_that_of_the_usual_variables(aws, monkeypatch, variable):
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv(variable, "us-east-2")
    boto3.client("secretsmanager", region_name="us-east-2").create_secret(Name="KEY", SecretString="far away")
    assert AwsSource().get("KEY") == "far away"
    assert AwsSource().where() == "aws (... in us-east-2)"
    assert AwsSource(AwsConfig(region="eu-west-1")).get("KEY") is None


def test_the_region_may_be_that_of_a_profile(monkeypatch, tmp_path):
    (tmp_path / "no-config").write_text("[default]\nregion = sa-east-1\n")
    assert AwsSource().where() == "aws (... in sa-east-1)"


def test_without_a_region_nothing_is_looked_up():
    assert AwsSource().get("KEY") is None
    assert AwsSource().where() == "aws (no region; set AWS_REGION)"


def test_without_boto3_nothing_is_looked_up(monkeypatch):
    monkeypatch.setattr("demur.serve.secrets.aws.find_spec", lambda name: None)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delitem(sys.modules, "boto3")
    assert AwsSource().get("KEY") is None
    assert AwsSource().where() == "aws (boto3 is not installed; run: pip install 'demur[aws]')"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AccessDeniedException", "allow secretsmanager:GetSecretValue"),
        ("DecryptionFailure", "allow kms:Decrypt"),
        ("ExpiredTokenException", "renew the credentials"),
        ("SomethingNew", "see the service's own log"),
    ],
)
def test_a_refusal_is_one_sentence_with_the_remedy_and_without_the_services_words(refusing, code, remedy):
    said = rf"^AWS does not give the secret 'KEY' \({code}\); {remedy}"
    with pytest.raises(SecretUnavailableError, match=said) as caught:
        refusing(code).get("KEY")
    assert "arn:aws" not in str(caught.value)


def test_a_secret_marked_for_deletion_is_told_with_the_remedy(aws):
    aws.create_secret(Name="KEY", SecretString="value")
    aws.delete_secret(SecretId="KEY")
    with pytest.raises(
        SecretUnavailableError, match=r"'KEY' \(InvalidRequestException\); it may be marked for del"
    ):
        AwsSource().get("KEY")


def test_without_credentials_the_sentence_says_what_to_check(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(SecretUnavailableError, match=r"'KEY' \(NoCredentialsError\); check credentials"):
        AwsSource().get("KEY")


def test_an_endpoint_where_nobody_listens_is_an_error_in_bounded_time(aws, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    source = AwsSource(AwsConfig(endpoint=endpoint, timeout_s=0.2))
    with pytest.raises(SecretError, match=r"could not be asked for the secret 'KEY' \(EndpointConnectionError\)"):
        source.get("KEY")


def test_the_endpoint_is_that_of_the_usual_variable(aws, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(SecretUnavailableError, match="EndpointConnectionError"):
        AwsSource(AwsConfig(timeout_s=0.2)).get("KEY")


def test_when_aws_fails_later_the_last_value_stays_in_use(aws, clock, caplog):
    aws.create_secret(Name="KEY", SecretString="value")
    secrets = Secrets(SecretSettings(sources={"aws": {}}, ttl_s=60), clock=clock)
    key = SecretText("${secret:KEY}")
    secrets.reveal(key)
    aws.delete_secret(SecretId="KEY")
    clock.now_s += 60
    assert secrets.reveal(key) == "value"
    assert "the last value of the secret 'KEY' stays in use: AWS does not give" in caplog.text
