"""The configuration of the loop from a file; paths in it are relative to the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demur.certify._config import CertifyConfig
from demur.config import merge_values, overlay_environment, parse_settings, read_mapping
from demur.stress import resolve_paths


def load_certify(path: Path, overrides: Mapping[str, Any] | None = None) -> CertifyConfig:
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
    values = overlay_environment(resolve_paths(read_mapping(path), path.parent), CertifyConfig)
    return parse_settings(CertifyConfig, merge_values(values, overrides or {}), where=str(path))
