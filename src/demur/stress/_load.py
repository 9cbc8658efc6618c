"""A grid's configuration from a file; paths in it are relative to the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demur.config import merge_values, overlay_environment, parse_settings, read_mapping
from demur.stress._config import StressConfig

_PATHS = ("path", "model", "adapter", "defended", "chat_template", "file", "encoder", "include_path")
_SOURCES = ("harmful", "safe", "compliance", "benign", "harmful_train", "harmless_train", "texts")


def load_stress(path: Path, overrides: Mapping[str, Any] | None = None) -> StressConfig:
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
    values = resolve_paths(read_mapping(path), path.parent)
    values = merge_values(overlay_environment(values, StressConfig), overrides or {})
    return parse_settings(StressConfig, values, where=str(path))


def resolve_paths(value: Any, base: Path, key: str = "") -> Any:
    """Names of files that lie beside the configuration, at any depth.

    Parameters
    ----------
    value
        Of the configuration, or a part of it.
    base
        The configuration's folder.
    key
        What the value is of.
    """
    if isinstance(value, dict):
        return {name: resolve_paths(one, base, str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [resolve_paths(one, base, key) for one in value]
    if isinstance(value, str) and value and key in (*_PATHS, *_SOURCES):
        beside = base / value
        return str(beside) if not Path(value).is_absolute() and beside.exists() else value
    return value
