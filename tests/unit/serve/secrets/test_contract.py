"""What every registered source of secrets owes."""

import logging

import pytest

from demur.config import Settings
from demur.serve.secrets import SECRETS, Secrets, SecretSettings, SecretSource, SecretText

VALUE = "a-value/with=odd:signs"


@pytest.fixture(params=SECRETS.names())
def name(request):
    return request.param


@pytest.fixture
def put(name, monkeypatch, tmp_path, request):
    """Keeps a secret where the source looks: ``put("KEY", "value")``."""
    if name == "environment":
        yield monkeypatch.setenv
    elif name == "dotenv":
        path = tmp_path / ".env"
        path.touch(0o600)
        yield lambda key, value: path.write_text(f"{path.read_text()}{key}='{value}'\n")
    elif name == "files":
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        yield lambda key, value: (tmp_path / key).write_text(value)
    else:
        boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto")
        for variable in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(variable, "eu-west-1")
        with moto.mock_aws():
            client = boto3.client("secretsmanager", region_name="eu-west-1")
            yield lambda key, value: client.create_secret(Name=key, SecretString=value)


@pytest.fixture
def source(name):
    return SECRETS.get(name)(SECRETS.get(name).config_type())


def test_it_is_a_source_whose_settings_all_have_a_default(source):
    assert isinstance(source, SecretSource)
    assert issubclass(source.config_type, Settings)
    assert all(field.description for field in source.config_type.model_fields.values())


def test_what_is_there_is_given_and_what_is_not_is_none(put, name):
    put("KEY_ONE", VALUE)
    source = SECRETS.get(name)(SECRETS.get(name).config_type())
    assert source.get("KEY_ONE") == VALUE
    assert source.get("KEY_TWO") is None
    assert source.get("KEY_ONE", "previous") is None


def test_where_it_looks_begins_with_its_name_and_holds_no_value(put, source, name):
    put("KEY_ONE", VALUE)
    source.get("KEY_ONE")
    assert source.where().split(" ")[0] == name
    assert VALUE not in source.where()


def test_neither_the_source_nor_the_log_shows_a_value(put, name, caplog):
    put("KEY_ONE", VALUE)
    secrets = Secrets(SecretSettings(sources={name: {}}))
    with caplog.at_level(logging.DEBUG, logger="demur"):
        assert secrets.reveal(SecretText("${secret:KEY_ONE}")) == VALUE
    assert VALUE not in caplog.text + repr(secrets) + repr(secrets.settings) + repr(vars(secrets._sources[name]))
