"""Presets: the short names by which a configuration asks for a family with certain settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demur.config import merge_values, parse_settings
from demur.errors import RegistryError, near_match
from demur.models._base import CLASSIFIERS, BaseClassifier


def list_presets() -> dict[str, tuple[str, dict[str, Any]]]:
    """Every preset of every family that can be imported: name to family and settings."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for family in CLASSIFIERS.names():
        try:
            presets = CLASSIFIERS.get(family).presets
        except RegistryError:
            continue
        found |= {name: (family, dict(settings)) for name, settings in presets.items()}
    return found


def find_preset(name: str) -> tuple[type[BaseClassifier[Any]], dict[str, Any]]:
    """The family and settings of a preset.

    Raises
    ------
    RegistryError
        No family has a preset of that name.
    """
    presets = list_presets()
    if name not in presets:
        raise RegistryError(
            f"no model is called '{name}' (known: {', '.join(sorted(presets))}){near_match(name, presets)}; "
            "a model of your own is a mapping with family: and its settings"
        )
    family, settings = presets[name]
    return CLASSIFIERS.get(family), settings


def find_family(
    preset: str | None, family: str | None, settings: Mapping[str, Any], where: str
) -> tuple[type[BaseClassifier[Any]], Any]:
    """The family of a model and its checked settings: the same for a model, a member of an ensemble, a teacher.

    Parameters
    ----------
    preset
        Named settings to start from.
    family
        The family, where no preset is named.
    settings
        Settings that go before those of the preset; mappings in them are merged.
    where
        What errors call it.

    Raises
    ------
    RegistryError
        No such preset or family is registered.
    ConfigError
        A setting is unknown or off.
    """
    base: dict[str, Any] = {}
    if preset is not None:
        found, base = find_preset(preset)
    else:
        found = CLASSIFIERS.get(str(family))
    return found, parse_settings(found.config_type, merge_values(base, settings), where)
