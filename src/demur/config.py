"""What every configuration shares: frozen models that refuse unknown keys, and one reader of files.

Order of precedence: defaults, file, environment (``DEMUR_KEY``, ``DEMUR_SPLIT__TEST``), flags.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from demur.errors import ConfigError, near_match


class Settings(BaseModel):
    """Base of every configuration: immutable, unknown keys refused, defaults checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())


S = TypeVar("S", bound=Settings)
_BOOL_TAG = "tag:yaml.org,2002:bool"
_VARIABLE = re.compile(r"\$\{(?!secret:)([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}")
"""``${secret:NAME}`` stays as it is: the configuration holds the reference, never the secret."""
_URL_PASSWORD = re.compile(r"(?<=://)\S+(?=@)")


def expand_variables(value: Any, environment: Mapping[str, str]) -> Any:
    """Replace ``${NAME}`` and ``${NAME:default}`` in every string of a nested value.

    Raises
    ------
    ConfigError
        A variable without default is not set.
    """
    if isinstance(value, dict):
        return {key: expand_variables(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_variables(item, environment) for item in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = environment.get(name, default)
        if found is None:
            raise ConfigError(f"the configuration uses ${{{name}}}, which is not set; export {name}=...")
        return found

    return _VARIABLE.sub(fill, value)


def parse_settings(model: type[S], values: Mapping[str, Any], where: str = "the configuration") -> S:
    """Check ``values`` against a settings model.

    Raises
    ------
    ConfigError
        A key is unknown (the nearest known one is named) or a value is off; all faults in one message.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        faults = _own_faults(error.errors())
        key = ".".join(str(part) for part in faults[0]["loc"])
        said = "; ".join(_describe_fault(model, fault) for fault in faults)
        raise ConfigError(f"{where}: {said}", key=key) from None


def merge_values(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with those of ``over`` laid on top; mappings are merged, anything else is replaced."""
    merged = dict(values)
    for key, value in over.items():
        below = merged.get(key)
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge_values(below, value) if nested else value  # type: ignore[arg-type]
    return merged


def parse_yaml(text: str) -> Any:
    """Parse YAML as version 1.2 has it: ``on``, ``off``, ``yes`` and ``no`` are words, so ``on: cv`` is a key.

    Raises
    ------
    yaml.YAMLError
        It is no YAML.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader with the booleans of YAML 1.2."""

    pairs = yaml.SafeLoader.yaml_implicit_resolvers.items()
    kept = {first: [rule for rule in rules if rule[0] != _BOOL_TAG] for first, rules in pairs}
    Loader.yaml_implicit_resolvers = kept
    Loader.add_implicit_resolver(_BOOL_TAG, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
    loader = Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_mapping(path: Path) -> dict[str, Any]:
    """Read one YAML or JSON file into a mapping, with ``${VAR}`` filled from the environment.

    Raises
    ------
    ConfigError
        The file is absent, not UTF-8, not YAML, or not a mapping.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no configuration file {path}; check the path") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give the configuration file in it") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    try:
        value = json.loads(text) if path.suffix == ".json" else parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not readable as {path.suffix[1:] or 'YAML'}: {reason}") from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values, not a {type(value).__name__}")
    expanded = expand_variables(value, os.environ)
    assert isinstance(expanded, dict)
    return expanded


def overlay_environment(values: dict[str, Any], model: type[Settings], prefix: str = "DEMUR_") -> dict[str, Any]:
    """Return ``values`` with ``DEMUR_KEY`` and ``DEMUR_KEY__SUBKEY`` variables laid over them.

    A variable whose key is no field of ``model`` is somebody else's and left alone.

    Raises
    ------
    ConfigError
        A variable's value is not YAML.
    """
    import yaml

    merged = dict(values)
    for name, text in sorted(os.environ.items()):
        if not name.startswith(prefix):
            continue
        path = name[len(prefix) :].lower().split("__")
        if path[0] not in model.model_fields:
            continue
        node = merged
        for part in path[:-1]:
            child = node.get(part)
            node[part] = dict(child) if isinstance(child, dict) else {}
            node = node[part]
        try:
            node[path[-1]] = parse_yaml(text)
        except yaml.YAMLError:
            raise ConfigError(
                f"the environment variable {name} is not readable as YAML; quote its value", key=".".join(path)
            ) from None
    return merged


def _own_faults(faults: Sequence[Any]) -> list[Any]:
    """Without the faults of a list that only come from those of its items (a bad item counts as none)."""
    paths = [tuple(fault["loc"]) for fault in faults]

    def is_consequence(fault: Any) -> bool:
        at = tuple(fault["loc"])
        return fault["type"] == "too_short" and any(
            len(path) > len(at) and path[: len(at)] == at for path in paths
        )

    return [fault for fault in faults if not is_consequence(fault)]


def _describe_fault(model: type[Settings], fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _known_keys(model, fault["loc"][:-1])
        name = str(fault["loc"][-1])
        listed = f" (known: {', '.join(sorted(known))})" if known else ""
        return f"unknown key '{path}'{near_match(name, known)}{listed}"
    if fault["type"] == "missing":
        return f"key '{path}' is missing; add it"
    message = fault["msg"].removeprefix("Value error, ")
    said = f"key '{path}': {message[:1].lower()}{message[1:]}" if path else message
    if fault["type"] == "value_error":
        return said
    given = _URL_PASSWORD.sub("***", str(fault["input"]))[:80]
    return f"{said.replace('tuple', 'list')}, got {given!r}"


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """The field names of the settings model that ``path`` leads to inside ``model``."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(str(part))
        if field is None:
            continue
        current = _inner_model(field.annotation)
    return list(current.model_fields) if current else []


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = _inner_model(part)
        if found:
            return found
    return None
