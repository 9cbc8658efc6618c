"""The reference of every configuration key, made from the settings themselves."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel

from demur.errors import MissingDependencyError, RegistryError
from demur.experiment._config import ExperimentConfig
from demur.models import CLASSIFIERS
from demur.tasks import Task

_HEAD = """# Configuration

Made by `demur config reference`; a test keeps it true. A configuration is one YAML or JSON file with the keys
below; `${NAME}` and `${NAME:default}` are filled from the environment. Precedence: defaults, file, environment
(`DEMUR_SEED=3`, `DEMUR_SPLIT__TEST=0.3`), flags. `demur config show FILE` prints every value and where it came
from, `demur config schema` the JSON Schema for editors.
"""


_BOUNDED = re.compile(r"Annotated\[([\w.]+), FieldInfo\((?:[^()]|\([^()]*\))*\)\]")
"""A type with bounds inside another; the bounds are left to the text."""


def write_reference() -> str:
    """Markdown with a table of keys for an experiment, a task file, and the settings of every family."""
    parts = [_HEAD, "## An experiment", *_tables(ExperimentConfig, ""), "## A task file", *_tables(Task, "")]
    for name in CLASSIFIERS.names():
        try:
            family = CLASSIFIERS.get(name)
        except (RegistryError, MissingDependencyError):
            continue
        parts += [f"## Settings of the family `{name}`", *_tables(family.config_type, "")]
    return "\n".join(parts) + "\n"


def _tables(model: type[BaseModel], prefix: str) -> list[str]:
    """One table for a settings model, then one for each model nested in it."""
    rows, nested = ["", "| key | type | default | what it is |", "| --- | --- | --- | --- |"], []
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inner = _inner(field.annotation)
        default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        rows.append(f"| `{path}` | {_kind(field.annotation)} | {default} | {_cell(field.description or '')} |")
        if inner is not None:
            nested += [f"\nKeys of `{path}`:", *_tables(inner, f"{path}.")]
    return [*rows, *nested]


def _inner(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner(part))), None)


def _kind(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return "mapping" if issubclass(annotation, BaseModel) else annotation.__name__
    words = _BOUNDED.sub(r"\1", str(annotation))
    for module in ("typing.", "collections.abc."):
        words = words.replace(module, "")
    inner = _inner(annotation)
    if inner is not None:
        words = words.replace(f"{inner.__module__}.{inner.__qualname__}", "mapping")
    return _cell(words.replace("Literal[", "one of [").replace(", ...", ""))


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        names = [getattr(item, "name", None) or getattr(item, "path", "") for item in value]
        return _cell(", ".join(f"`{name}`" for name in names))
    return _cell(f"`{value}`" if value not in ("", (), {}) else "none")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
