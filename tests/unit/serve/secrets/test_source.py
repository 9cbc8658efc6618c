"""Tests of the registry of sources and of the settings that put them in an order."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError, RegistryError, SecretError
from demur.registry import Registry
from demur.serve.secrets import SECRETS, Secrets, SecretSettings, SecretText, open_sources
from demur.serve.secrets.dotenv import DotenvSource
from demur.serve.secrets.environment import EnvironmentSource


def test_the_built_in_sources_are_registered():
    assert SECRETS.names() == ["aws", "dotenv", "environment", "files"]
    assert SECRETS.broken() == {}


def test_the_environment_is_asked_first_and_aws_last():
    assert list(open_sources(SecretSettings())) == ["environment", "dotenv", "files", "aws"]


def test_sources_stand_in_the_order_of_the_settings_with_theirs():
    settings = parse_settings(SecretSettings, {"sources": {"dotenv": {"path": "other.env"}, "environment": None}})
    opened = open_sources(settings)
    assert list(opened) == ["dotenv", "environment"]
    assert isinstance(opened["environment"], EnvironmentSource)
    assert isinstance(opened["dotenv"], DotenvSource)
    assert opened["dotenv"].config.path == "other.env"


def test_a_list_of_names_will_do():
    settings = parse_settings(SecretSettings, {"sources": ["files", "aws"]})
    assert list(settings.sources) == ["files", "aws"]


def test_the_first_source_that_has_it_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("KEY=from the file\nOTHER=only there\n")
    (tmp_path / ".env").chmod(0o600)
    monkeypatch.setenv("KEY", "from the environment")
    secrets = Secrets()
    assert secrets.reveal(SecretText("${secret:KEY}")) == "from the environment"
    assert secrets.reveal(SecretText("${secret:OTHER}")) == "only there"
    assert secrets.source_of(SecretText("${secret:KEY} ${secret:OTHER}")) == {
        "KEY": "environment",
        "OTHER": "dotenv",
    }


def test_a_secret_that_is_nowhere_is_told_with_every_place_that_was_looked_in(tmp_path):
    said = (
        r"the secret 'DATABASE_URL' is nowhere \(looked in: environment, dotenv \(no file \.env\), "
        r"files \(no folder .*secrets\), aws \(no region; set AWS_REGION\)\); set it in one of them"
    )
    settings = SecretSettings(
        sources={"environment": {}, "dotenv": {}, "files": {"folder": str(tmp_path / "secrets")}, "aws": {}}
    )
    with pytest.raises(SecretError, match=said) as caught:
        Secrets(settings).reveal(SecretText("${secret:DATABASE_URL}"))
    assert caught.value.exit_code == 3


def test_an_unknown_source_is_answered_with_the_known():
    with pytest.raises(RegistryError, match=r"no secret is called 'vault' \(known: aws, dotenv,"):
        Secrets(SecretSettings(sources={"vault": {}}))


def test_a_wrong_setting_of_a_source_is_named():
    with pytest.raises(ConfigError, match=r"secrets\.sources\.dotenv: unknown key 'paht'; did you mean 'path'\?"):
        open_sources(SecretSettings(sources={"dotenv": {"paht": "x"}}))


def test_no_source_at_all_is_refused():
    with pytest.raises(ConfigError, match=r"key 'sources': .*at least 1"):
        parse_settings(SecretSettings, {"sources": {}})


@pytest.fixture
def vault(monkeypatch, tmp_path):
    """A package from elsewhere that brings a source of its own, found by entry point."""
    (tmp_path / "toy_vault.py").write_text(
        "from demur.config import Settings\n"
        "class VaultConfig(Settings):\n"
        "    shelf: str = 'top'\n"
        "class Vault:\n"
        "    config_type = VaultConfig\n"
        "    def __init__(self, config):\n"
        "        self.config = config\n"
        "    def get(self, name, stage='current'):\n"
        "        if name == 'LOCKED':\n"
        "            raise RuntimeError('the value is hunter2-hunter2')\n"
        "        return f'{name} of the {self.config.shelf} shelf' if name.startswith('V') else None\n"
        "    def where(self):\n"
        "        return 'vault'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_vault", raising=False)
    entries = [EntryPoint("vault", "toy_vault:Vault", "demur.secrets")]
    monkeypatch.setattr("demur.registry.entry_points", lambda group: entries)
    monkeypatch.setattr("demur.serve.secrets._source.SECRETS", Registry("secret"))
    return Secrets(SecretSettings(sources={"vault": {"shelf": "low"}}))


def test_a_source_from_another_package_is_used_with_its_settings(vault):
    assert vault.reveal(SecretText("${secret:V1}")) == "V1 of the low shelf"


def test_whatever_a_source_raises_is_one_sentence_without_its_words(vault):
    with pytest.raises(
        SecretError, match=r"the source 'vault' failed while it looked up 'LOCKED' .RuntimeError.;"
    ) as e:
        vault.reveal(SecretText("${secret:LOCKED}"))
    assert "hunter2" not in str(e.value)


def test_the_settings_are_read_without_boto3_and_dotenv():
    code = (
        "import sys\nfrom demur.serve.secrets import SecretSettings, SecretText, Secrets\nSecrets()\n"
        "assert not {'boto3', 'botocore', 'dotenv', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
