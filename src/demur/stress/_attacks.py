"""The registry of attacks, and making one of its name and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demur.config import parse_settings
from demur.registry import Registry
from demur.stress._protocol import Attack

ATTACKS: Registry[type[Attack[Any]]] = Registry("attack")
"""All attacks that are installed: demur's own, and those of other packages under ``demur.attacks``."""


def make_attack(name: str, values: Mapping[str, Any] | None = None) -> Attack[Any]:
    """An attack by name.

    Parameters
    ----------
    name
        As registered.
    values
        Its settings; the defaults of those left out.

    Raises
    ------
    RegistryError
        No attack has that name.
    ConfigError
        A setting is unknown or off.
    """
    found = ATTACKS.get(name)
    return found(parse_settings(found.config_type, values or {}, f"the attack '{name}'"))
