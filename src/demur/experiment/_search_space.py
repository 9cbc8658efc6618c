"""The space of a search: which settings of a family vary, what they may be, and settings with them applied."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from demur.config import Settings, parse_settings
from demur.errors import ConfigError, near_match
from demur.experiment._search_config import Dimension, SearchConfig
from demur.models import BaseClassifier

Space = Mapping[str, Dimension]
Params = dict[str, Any]


def resolve_space(
    search: SearchConfig, family: type[BaseClassifier[Any]], settings: Settings
) -> dict[str, Dimension]:
    """The checked space of a search: its own, or what the family suggests under these settings.

    Raises
    ------
    ConfigError
        There is none, a setting is unknown, or a value is one that the family refuses.
    """
    space = dict(search.space)
    if not space:
        space = {name: Dimension.model_validate(found) for name, found in family.default_space(settings).items()}
    if not space:
        raise ConfigError(
            f"search: family '{family.family}' suggests no settings to search; name some in search.space, "
            "or leave search out",
            key="search.space",
        )
    if search.method == "grid" and not is_grid(space):
        ranges = sorted(name for name, found in space.items() if not found.choices)
        raise ConfigError(
            f"search: a grid needs choices, and the family suggests a range for {', '.join(ranges)}; list values "
            "in search.space or use method: optuna",
            key="search.method",
        )
    for name, dimension in space.items():
        _check_name(name, type(settings))
        for value in _values_to_check(dimension):
            apply_params(settings, {name: value}, f"search.space.{name}")
    return space


def apply_params(settings: Settings, params: Params, where: str = "search") -> Settings:
    """Settings with some of them, by dotted name, replaced.

    Raises
    ------
    ConfigError
        The family refuses a value, or several together.
    """
    values = settings.model_dump(exclude_unset=True)
    for name, value in params.items():
        *path, last = name.split(".")
        node: dict[str, Any] = values
        current: Any = settings
        for part in path:
            current = getattr(current, part)
            # A nested default may differ from its type's own: what the search leaves alone must stay as it is.
            node = node.setdefault(part, current.model_dump())
        node[last] = value
    return parse_settings(type(settings), values, where)


def current_params(settings: Settings, space: Space) -> Params | None:
    """What the settings searched are without a search; None where one of them lies outside the space."""
    params = {}
    for name, dimension in space.items():
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        found = _place(value, dimension)
        if found is None:
            return None
        params[name] = found[0]
    return params


def is_grid(space: Space) -> bool:
    """Whether every setting has choices."""
    return all(dimension.choices for dimension in space.values())


def count_grid(space: Space) -> int:
    """How many combinations the choices have."""
    return math.prod(len(dimension.choices) for dimension in space.values())


def params_key(params: Params) -> str:
    """One text for one combination of values."""
    return json.dumps(params, sort_keys=True)


def _check_name(name: str, config: type[Settings]) -> None:
    """Follow a dotted name through nested settings."""
    fields: Any = config
    for at, part in enumerate(name.split(".")):
        known = getattr(fields, "model_fields", None)
        if known is None or part not in known:
            near = near_match(part, known) if known else ""
            listed = f" (known: {', '.join(sorted(known))})" if known else ""
            upper = ".".join(name.split(".")[:at])
            there = f"under '{upper}'" if upper else "in this family"
            raise ConfigError(
                f"search.space: there is no setting '{part}' {there}{near}{listed}", key=f"search.space.{name}"
            )
        fields = known[part].annotation


def _values_to_check(dimension: Dimension) -> list[Any]:
    """The choices; of a range its ends, and where they need not be whole a number between that is not."""
    if dimension.choices:
        return list(dimension.choices)
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.int:
        return [int(dimension.low), int(dimension.high)]
    return [dimension.low, dimension.low + 0.37 * (dimension.high - dimension.low), dimension.high]


def _place(value: Any, dimension: Dimension) -> tuple[Any] | None:
    """A value as the dimension has it, in a tuple; None where it lies outside."""
    if dimension.choices:
        plain = list(value) if isinstance(value, tuple) else value
        for choice in dimension.choices:
            if (list(choice) if isinstance(choice, tuple) else choice) == plain:
                return (choice,)
        return None
    assert dimension.low is not None
    assert dimension.high is not None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (value,) if is_number and dimension.low <= value <= dimension.high else None
