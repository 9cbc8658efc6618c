"""A place that keeps secrets in a dictionary, a clock that is turned by hand, and no secrets of this machine."""

import os

import pytest

from demur.config import Settings
from demur.errors import SecretUnavailableError


class Drawer:
    """A source for tests: it counts what it was asked, and can be shut."""

    config_type = Settings

    def __init__(self, **held):
        self.held = held
        self.asked = []
        self.is_shut = False

    def get(self, name, stage="current"):
        self.asked.append((name, stage))
        if self.is_shut:
            raise SecretUnavailableError("the drawer is shut; open it")
        return self.held.get(name if stage == "current" else f"{name}_PREVIOUS")

    def where(self):
        return "drawer"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def drawer():
    """Maker of a source: ``drawer(NAME="value")``."""
    return Drawer


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def _no_secrets_of_this_machine(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith("AWS_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)
