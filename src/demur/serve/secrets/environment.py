"""Secrets in the environment of the process."""

from __future__ import annotations

import os
from typing import ClassVar

from demur.config import Settings
from demur.serve.secrets._source import PREVIOUS, Stage


class EnvironmentConfig(Settings):
    """The environment has no settings."""


class EnvironmentSource:
    """The variable of the secret's name; ``NAME_PREVIOUS`` is the value before."""

    config_type: ClassVar[type[Settings]] = EnvironmentConfig

    def __init__(self, config: EnvironmentConfig | None = None) -> None:
        self.config = config or EnvironmentConfig()

    def get(self, name: str, stage: Stage = "current") -> str | None:
        """The variable of that name, or None."""
        return os.environ.get(name if stage == "current" else name + PREVIOUS)

    def where(self) -> str:
        """The words for the sentence that says a secret is nowhere."""
        return "environment"
