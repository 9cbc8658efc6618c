"""From a configuration file, the environment and flags to one experiment, and where each value came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demur.config import merge_values, overlay_environment, parse_settings, read_mapping
from demur.experiment._config import ExperimentConfig
from demur.experiment._key import PATH_SETTINGS


def load_experiment(source: str | Path | None = None, overrides: dict[str, Any] | None = None) -> ExperimentConfig:
    """Read an experiment's configuration; paths in the file are relative to the file.

    Parameters
    ----------
    source
        A YAML or JSON file; None for the embedded defaults.
    overrides
        Values that win over file and environment, nested as in the file.

    Raises
    ------
    ConfigError
        The file or a key is off.
    """
    values: dict[str, Any] = {}
    where = "the configuration"
    if source is not None:
        path = Path(source)
        values, where = read_mapping(path), str(path)
        values = _resolve_paths(values, path.parent)
    values = merge_values(overlay_environment(values, ExperimentConfig), overrides or {})
    return parse_settings(ExperimentConfig, values, where)


def explain_config(source: str | Path | None = None) -> list[tuple[str, Any, str]]:
    """Every value of a configuration with its dotted key and its origin: default, file or environment.

    Raises
    ------
    ConfigError
        The file or a key is off.
    """
    in_file = read_mapping(Path(source)) if source is not None else {}
    in_environment = overlay_environment({}, ExperimentConfig)
    resolved = load_experiment(source).model_dump(mode="json")

    def walk(value: Any, path: tuple[str, ...]) -> list[tuple[str, Any, str]]:
        if isinstance(value, dict) and value:
            return [entry for key, item in value.items() for entry in walk(item, (*path, key))]
        origin = "environment" if _holds(in_environment, path) else "file" if _holds(in_file, path) else "default"
        return [(".".join(path), value, origin)]

    return walk(resolved, ())


def _holds(values: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def _resolve_paths(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """Data and task files relative to the configuration's folder."""

    def resolved(path: Any) -> Any:
        if not isinstance(path, str) or path.split(":")[0] == "starter":
            return path
        path = expand_home(path)
        beside = base / path
        return str(beside) if not Path(path).is_absolute() and beside.exists() else path

    changed = dict(values)
    if isinstance(changed.get("out"), str):
        changed["out"] = expand_home(changed["out"])
    for part in ("data", "blind"):
        sources = changed.get(part)
        if isinstance(sources, list):
            listed = [{"path": source} if isinstance(source, str) else source for source in sources]
            changed[part] = [
                source | {"path": resolved(source["path"])}
                if isinstance(source, dict) and "path" in source
                else source
                for source in listed
            ]
    if isinstance(changed.get("models"), list):
        changed["models"] = [_resolve_settings(model, base) for model in changed["models"]]
    if isinstance(changed.get("tasks"), list):
        changed["tasks"] = [
            resolved(task) if isinstance(task, str) and "." in task else task for task in changed["tasks"]
        ]
    return changed


def expand_home(path: str) -> str:
    """A path whose ``~`` or ``~user`` is filled in, where there is such a home."""
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path


def _resolve_settings(values: Any, base: Path) -> Any:
    """Settings, at any depth, that name files beside the configuration, such as a list of rules."""
    if isinstance(values, list):
        return [_resolve_settings(value, base) for value in values]
    if not isinstance(values, dict):
        return values
    found = {}
    for key, value in values.items():
        if key in PATH_SETTINGS and isinstance(value, str) and value:
            path = expand_home(value)
            found[key] = str(base / path) if (base / path).exists() else path
        else:
            found[key] = _resolve_settings(value, base)
    return found
