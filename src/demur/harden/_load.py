"""The configuration of a circuit breaker from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demur.config import merge_values, overlay_environment, parse_settings, read_mapping
from demur.harden._config import HardenConfig


def load_harden(path: Path, overrides: Mapping[str, Any] | None = None) -> HardenConfig:
    """Read a configuration; the environment is laid over the file, and ``overrides`` over both.

    Parameters
    ----------
    path
        A YAML or JSON file.
    overrides
        Such as flags of the command.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown or a value is off.
    """
    values = overlay_environment(read_mapping(path), HardenConfig)
    return parse_settings(HardenConfig, merge_values(values, overrides or {}), where=str(path))
