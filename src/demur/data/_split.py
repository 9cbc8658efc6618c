"""Splits by group: train / validation / test, cross-validation, one answerer or source held out.

All are lists of row positions into the records given; rows without a label of the task are in none.
Whether a split leaks is checked in ``_leak``, on every split, whoever made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from demur.config import Settings
from demur.data._records import Records
from demur.data._text import text_keys
from demur.errors import DataError, EmptyDataError, LabelError, MissingColumnError
from demur.tasks import Task

Rows = NDArray[np.int64]
LEAVE_OUT_FOLDS = 5
"""Group folds that leave-one-out is crossed with under ``strict_groups``."""


class SplitConfig(Settings):
    """Shares of a train / validation / test split."""

    test: float = Field(default=0.2, gt=0, lt=1, description="Share of rows to test on.")
    valid: float = Field(default=0.15, ge=0, lt=1, description="Share of rows to tune on; 0 for none.")
    seed: int | None = Field(
        default=None, ge=0, description="Seed of the allocation; null: that of the experiment, else 0."
    )


@dataclass(frozen=True)
class Split:
    """Row positions of one train / validation / test division."""

    name: str
    """The kind: ``test``, ``cv``, ``leave_one_model_out``, ``leave_one_source_out``."""
    train: Rows
    test: Rows
    valid: Rows | None = None
    fold: str | None = None
    """The number of the fold, or the value held out; several splits may share a held-out value."""


def split_records(records: Records, task: Task, config: SplitConfig | None = None) -> Split:
    """Divide the labelled rows by group, each class near its share on every side.

    Raises
    ------
    EmptyDataError, LabelError
        No row has a label of the task, or all have the same.
    DataError
        There is a single group, or the shares leave nothing to train on.
    """
    config = config or SplitConfig()
    if config.test + config.valid >= 1:
        raise DataError(
            f"test ({config.test:g}) and valid ({config.valid:g}) take all rows; make them sum to less than 1"
        )
    rows, groups, classes = _labelled(records, task)
    count = int(groups.max()) + 1
    if count < 2:
        raise DataError(
            f"all {len(rows)} rows of task '{task.name}' form a single group, which no split may divide; "
            "give rows with other prompts, or check the 'group' column and the near-duplicate threshold"
        )
    shares = [1 - config.test - config.valid, config.test, config.valid]
    if count < 3 or not config.valid:
        shares = [1 - config.test, config.test]
    sides = _allocate(groups, classes, np.array(shares), config.seed or 0)
    parts = [rows[sides == number] for number in range(len(shares))]
    return Split("test", parts[0], parts[1], parts[2] if len(parts) > 2 else None)


def cross_validate(records: Records, task: Task, folds: int = 5, seed: int = 0) -> list[Split]:
    """Divide the labelled rows into folds by group, stratified; each row is tested once.

    Raises
    ------
    DataError
        There are fewer groups than folds, or fewer than two folds are asked for.
    """
    rows, groups, classes = _labelled(records, task)
    count = int(groups.max()) + 1
    if folds < 2 or count < folds:
        raise DataError(
            f"{folds} folds need at least {max(folds, 2)} groups and 2 folds; task '{task.name}' has "
            f"{count} group(s); ask for between 2 and {max(count, 2)} folds or give more prompts"
        )
    sides = _allocate(groups, classes, np.full(folds, 1 / folds), seed)
    return [
        Split("cv", rows[sides != number], rows[sides == number], None, str(number + 1)) for number in range(folds)
    ]


def leave_one_out(
    records: Records,
    task: Task,
    by: Literal["model", "source"] = "model",
    strict_groups: bool = False,
    min_rows: int = 20,
) -> list[Split]:
    """Hold out one value of a column at a time: its rows are the test, the others train.

    Rows where the column is null are never held out but train. A train row whose text (the fields the task
    reads) also stands in the test is left out. An empty list means that fewer than two values are there, or
    none has ``min_rows`` labelled rows.

    Parameters
    ----------
    records
        The records; the rows of a split are positions in them.
    task
        Only rows with a label of it take part.
    by
        The column whose values are held out in turn.
    strict_groups
        Also keep every group of the test rows out of the train rows. Each held-out value is then crossed
        with 5 group folds, so that each of its rows is predicted once, by a model that saw neither its
        answerer (or source) nor its prompts; the splits of one value share ``fold``.
    min_rows
        A value with fewer labelled rows is not held out.

    Raises
    ------
    MissingColumnError
        There is no such column.
    """
    if by not in records.frame.columns:
        raise MissingColumnError(by, records.frame.columns)
    rows, groups, classes = _labelled(records, task, one_class_ok=True)
    values = records.column(by)[rows]
    keys = text_keys(records, task.fields).gather(rows).to_numpy()
    sides: Rows | None = None
    if strict_groups:
        folds = min(LEAVE_OUT_FOLDS, int(groups.max()) + 1)
        sides = _allocate(groups, classes, np.full(folds, 1 / folds), seed=0)
    splits = []
    for value in sorted({str(value) for value in values if value is not None}):
        held = values == value
        if held.sum() < min_rows or held.all():
            continue
        splits += _hold_out(f"leave_one_{by}_out", value, rows, held, (keys, sides))
    return splits


def _hold_out(
    name: str,
    value: str,
    rows: Rows,
    held: NDArray[np.bool_],
    context: tuple[NDArray[np.object_], Rows | None],
) -> list[Split]:
    keys, sides = context
    masks = [np.ones(len(rows), dtype=bool)]
    if sides is not None:
        masks = [sides == number for number in np.unique(sides[held])]
    splits = []
    for mask in masks:
        test = held & mask
        train = ~held if sides is None else ~held & ~mask
        train &= ~np.isin(keys, np.unique(keys[test]))
        if train.any() and test.any():
            splits.append(Split(name, rows[train], rows[test], None, value))
    return splits


def _labelled(records: Records, task: Task, *, one_class_ok: bool = False) -> tuple[Rows, Rows, Rows]:
    """Positions, group numbers and class ids of the labelled rows, each ``(n,)``."""
    if task.name not in records.frame.columns:
        raise MissingColumnError(task.name, records.frame.columns)
    rows = np.flatnonzero(records.frame.get_column(task.name).is_not_null().to_numpy()).astype(np.int64)
    if not len(rows):
        raise EmptyDataError(f"no record has a label for task '{task.name}'")
    kept = records.take(rows)
    classes = kept.targets(task)
    if not one_class_ok and len(np.unique(classes)) < 2:
        raise LabelError(
            f"all {len(rows)} rows of task '{task.name}' have the label '{task.labels[classes[0]]}'; "
            "add rows of another class"
        )
    return rows, kept.groups(), classes


def _allocate(groups: Rows, classes: Rows, shares: NDArray[np.float64], seed: int) -> Rows:
    """Side of each row ``(n,)``: whole groups, every class near its share on every side, no side empty.

    Greedy: the largest groups first, each to the side where the class shares end up nearest to the wanted
    ones; groups of equal size in an order drawn by ``seed``.
    """
    _, classes = np.unique(classes, return_inverse=True)
    counts = np.zeros((int(groups.max()) + 1, int(classes.max()) + 1))  # (groups, classes)
    np.add.at(counts, (groups, classes), 1)
    totals = counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(counts))
    # Rare classes first within a size, so that they are placed while there is room on every side.
    rarity = (counts / totals).max(axis=1)
    order = order[np.lexsort((-rarity[order], -counts.sum(axis=1)[order]))]
    wanted = shares[:, None] * totals  # (sides, classes)
    filled = np.zeros_like(wanted)
    side_of = np.empty(len(counts), dtype=np.int64)
    for group in order:
        lack = np.maximum(wanted - filled, 0) / np.maximum(wanted, 1e-9)
        excess = np.maximum(filled + counts[group] - wanted, 0) / np.maximum(wanted, 1e-9)
        gain = ((lack - excess) * counts[group]).sum(axis=1)
        side = int(gain.argmax())
        side_of[group] = side
        filled[side] += counts[group]
    _fill_gaps(side_of, counts, len(shares))
    return side_of[groups]


def _fill_gaps(side_of: Rows, counts: NDArray[np.float64], sides: int) -> None:
    """Move small groups in place so that no side is empty and, where groups suffice, each has every class."""
    sizes = counts.sum(axis=1)
    classes = [counts[:, number] > 0 for number in np.argsort(counts.sum(axis=0))]
    for number, has in enumerate([np.ones(len(counts), dtype=bool), *classes]):
        holders = np.flatnonzero(has)
        for side in range(min(sides, len(holders))):
            if (side_of[holders] == side).any():
                continue
            movable = [group for group in holders if (side_of == side_of[group]).sum() > 1]
            harmless = [group for group in movable if _can_leave(group, side, side_of, classes)]
            # A side without any row is worse than one without a class, so the first round takes what it gets.
            spare = harmless or (movable if number == 0 else [])
            if spare:
                side_of[min(spare, key=lambda group: (sizes[group], group))] = side


def _can_leave(group: np.int64, side: int, side_of: Rows, classes: Sequence[NDArray[np.bool_]]) -> bool:
    """Whether the group's own side keeps a group of each of its classes, or ranks below ``side``."""
    own = side_of[group]
    others = (side_of == own) & (np.arange(len(side_of)) != group)
    return bool(own > side) or all((others & has).any() for has in classes if has[group])
