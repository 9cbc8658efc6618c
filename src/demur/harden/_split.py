"""Which rows are held out: by prompt and by group, the same ones in every source; and whether one leaked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from demur.errors import EmptyDataError, LeakError

if TYPE_CHECKING:
    from demur.harden._config import HardenData
    from demur.harden._data import HardenRow

Parts = list[list["HardenRow"]]


@dataclass(frozen=True)
class SplitRows:
    """Rows by side."""

    train: Parts
    """By source, the rows to break first."""
    breakers_valid: list[HardenRow]
    retain_valid: list[HardenRow]
    left_out: int
    """Rows to train on that another source's held-out prompts took out."""


def split_rows(sources: Parts, breakers_own: Parts, retain_own: Parts, data: HardenData, seed: int) -> SplitRows:
    """Hold out a share of the prompts of every source that has no validation rows of its own.

    Prompts that are linked by a row, a group or one answer to break are held out together. Those of a source with
    validation rows of its own are touched last; where they must be, their rows are neither trained on nor
    measured on.

    Parameters
    ----------
    sources
        The rows to break, then the rows to retain, by source.
    breakers_own, retain_own
        Validation rows that were given, by source; empty where there are none.
    data
        The share that is held out, and what links rows.
    seed
        Draws the prompts, and the order of validation rows.

    Raises
    ------
    EmptyDataError
        No row of a source is left to train on.
    """
    has_own = [bool(breakers_own), *([bool(retain_own)] * (len(sources) - 1))]
    units = _link(sources, data)
    held = _draw(units, has_own, data.held_out, np.random.default_rng([seed, 17]))
    train, valid = [], []
    for number, (rows, found) in enumerate(zip(sources, units, strict=True)):
        name = "retain" if number else "breakers"
        train.append([row for row, unit in zip(rows, found, strict=True) if unit not in held])
        valid.append([row for row, unit in zip(rows, found, strict=True) if unit in held])
        if not train[-1]:
            raise EmptyDataError(
                f"the {len(rows)} rows of a source of data.{name} have {len(set(found))} prompt(s), groups "
                "counted as one, so none is left to train on once some are held out; give more prompts, own rows "
                f"as data.{name}_valid, or set data.split_by: prompt"
            )
    left_out = sum(len(rows) for rows, own in zip(valid, has_own, strict=True) if own)
    return SplitRows(
        train,
        take_turns(breakers_own or valid[:1], [seed, 31]),
        take_turns(retain_own or valid[1:], [seed, 37]),
        left_out,
    )


def take_turns(parts: Parts, seed: Sequence[int]) -> list[HardenRow]:
    """All rows, each part in an order drawn by seed, one row of each part after the other while it has some."""
    drawn = (
        [rows[place] for place in np.random.default_rng([*seed, number]).permutation(len(rows))]
        for number, rows in enumerate(parts)
    )
    return [row for turn in zip_longest(*drawn) for row in turn if row is not None]


def refuse_leaks(train: Iterable[HardenRow], held: Sequence[HardenRow], what: str) -> None:
    """Make sure that no row stands on both sides, be it by one of its requests or by its group.

    Parameters
    ----------
    train
        Rows that are trained on.
    held
        Rows that are measured on.
    what
        What they are, for the message.

    Raises
    ------
    LeakError
        One does.
    """
    keys: set[str] = set()
    groups: set[str | None] = set()
    for row in train:
        keys.update(row.keys)
        groups.add(row.group)
    groups.discard(None)
    shared = [row.id for row in held if row.group in groups or not keys.isdisjoint(row.keys)]
    if shared:
        raise LeakError(
            f"{len(shared)} of the {len(held)} {what} rows have a prompt that is trained on, or its group, such "
            f"as {', '.join(shared[:3])}; a breaker would be praised for what it has seen: take them out of one "
            "side"
        )


def _link(sources: Parts, data: HardenData) -> list[list[str]]:
    """The unit of every row, by source: the first name of all that is linked to it."""
    parents: dict[str, str] = {}

    def find(name: str) -> str:
        while parents.setdefault(name, name) != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    by_category = _is_by_category(sources, data)
    for row in (row for rows in sources for row in rows):
        names = [f"prompt {key}" for key in row.keys]
        if row.group is not None and data.split_by in ("auto", "group"):
            names.append(f"group {row.group}")
        elif row.category is not None and by_category:
            names.append(f"category {row.category}")
        if row.answer is not None:
            names.append(f"answer {row.answer}")
        first, *others = sorted(map(find, names))
        # The smallest name leads, so that the order of rows has no say.
        parents.update(dict.fromkeys(others, first))
    return [[find(f"prompt {row.keys[0]}") for row in rows] for rows in sources]


def _is_by_category(sources: Parts, data: HardenData) -> bool:
    """Whether categories link rows; by themselves only where each is small enough to be a share held out."""
    if data.split_by != "auto":
        return data.split_by == "category"
    found = [{row.category for row in rows} - {None} for rows in sources]
    return any(found) and all(len(names) >= math.ceil(1 / data.held_out) for names in found if names)


def _draw(units: list[list[str]], has_own: Sequence[bool], share: float, random: np.random.Generator) -> set[str]:
    spared = {unit for found, own in zip(units, has_own, strict=True) if own for unit in found}
    is_held: dict[str, bool] = {}
    for found, own in zip(units, has_own, strict=True):
        names = sorted(set(found))
        if own:
            continue
        free = [name for name in random.permutation(names).tolist() if name not in is_held]
        free.sort(key=spared.__contains__)
        held = sum(is_held.get(name, False) for name in names)
        wanted = max(0, max(1, round(len(names) * share)) - held)
        is_held |= {name: place < wanted for place, name in enumerate(free)}
    return {name for name, held in is_held.items() if held}
