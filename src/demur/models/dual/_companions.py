"""Which other tasks are learned along, and which of their rows early stopping watches."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from demur.data import Records, SplitConfig, split_records, text_keys
from demur.errors import ConfigError, DataError, near_match
from demur.models.dual._config import DualConfig
from demur.models.dual._join import Part
from demur.tasks import Task


def choose_companions(task: Task, config: DualConfig, given: Mapping[str, Part]) -> list[Part]:
    """The tasks to learn beside ``task``, by name, each with its labelled rows.

    What was asked for and cannot be learned is left out with a warning, so that one task's lack of rows does
    not end the other's training.

    Raises
    ------
    ConfigError
        A task named in ``tasks`` reads other texts, or ``task_weights`` names a task nobody gave.
    """
    given = {other.name: (other, records) for other, records in given.values()}
    named = [name for name in config.tasks if name != task.name]
    reasons = [_no_rows(name, task, given) for name in named if name not in given]
    found: list[Part] = []
    for name, (other, records) in sorted(given.items()):
        is_wanted = name != task.name and (not named or name in named)
        if is_wanted and _reads_the_same(task, other, config, is_named=bool(named)):
            rows, reason = _learnable(other, records)
            if rows is None:
                reasons.append(f"task '{name}' is not learned with '{task.name}': {reason}")
            else:
                found.append((other, rows))
    if not found:
        reasons.append(
            f"task '{task.name}' is learned alone: there are no training rows of another task that reads "
            f"{' and '.join(config.fields or task.fields)}; put one into companions before fit, or list two "
            "such tasks in the experiment"
        )
    if reasons:
        warnings.warn("; ".join(reasons), stacklevel=6)  # at the caller of ``fit``
    _check_weights(config, {*named, *given, task.name})
    return found


def _no_rows(name: str, task: Task, given: Mapping[str, Part]) -> str:
    return (
        f"task '{name}' was to be learned with '{task.name}', but it came without training rows (given: "
        f"{', '.join(sorted(given)) or 'no other task'}){near_match(name, given)}; put '{name}' into "
        "companions before fit, or add it to the tasks of the experiment"
    )


def _reads_the_same(task: Task, other: Task, config: DualConfig, is_named: bool) -> bool:
    if config.fields or set(other.fields) == set(task.fields):
        return True
    if not is_named:
        return False
    raise ConfigError(
        f"task '{other.name}' reads {' and '.join(other.fields)}, '{task.name}' reads "
        f"{' and '.join(task.fields)}, and one pass reads one of them; take '{other.name}' out of tasks, or set "
        "fields to what both shall read",
        key="tasks",
    )


def _learnable(task: Task, records: Records) -> tuple[Records | None, str]:
    """The task's labelled rows; None with the reason where they show fewer than two classes."""
    try:
        rows = records.labelled(task)
        present = len(np.unique(rows.targets(task)))
    except DataError as error:
        return None, str(error)
    if present < 2:
        return None, f"its {len(rows)} training rows have one class only; add rows of another class"
    return rows, ""


def _check_weights(config: DualConfig, known: set[str]) -> None:
    for name in config.task_weights:
        if name not in known:
            raise ConfigError(
                f"task_weights names '{name}', which is no task here (known: {', '.join(sorted(known))})"
                f"{near_match(name, known)}; take it out",
                key="task_weights",
            )


def split_companions(
    companions: Sequence[Part], train: Records, valid: Records, config: SplitConfig, fields: Sequence[str]
) -> list[tuple[Part, Part]]:
    """Divide other tasks' rows as the classifier's own are divided: no group or text on both sides.

    Rows that share a group or text with ``valid`` go there, those that share one with ``train`` stay;
    of the rest, whole groups are set aside until about ``config.test`` of a task's rows are.

    Parameters
    ----------
    companions
        Tasks with their labelled rows.
    train, valid
        The two sides of the classifier's own rows.
    config
        Share and seed.
    fields
        The texts that are read.

    Returns
    -------
    list
        For each task the part to train on and the part to watch, which may be empty.
    """
    sides = [_marks(valid, fields), _marks(train, fields)]
    found = []
    for task, records in companions:
        watched = _choose_watched(task, records, sides, config, fields)
        parts = [records.take(np.flatnonzero(watched)), records.take(np.flatnonzero(~watched))]
        # The next task's rows must respect this one's sides too.
        sides = [known | _marks(part, fields) for known, part in zip(sides, parts, strict=True)]
        found.append(((task, parts[1]), (task, parts[0])))
    return found


def _choose_watched(
    task: Task, records: Records, sides: Sequence[set[str]], config: SplitConfig, fields: Sequence[str]
) -> NDArray[np.bool_]:
    """Which rows are set aside to watch, ``(n,)``."""
    keys, groups = text_keys(records, fields).to_list(), _groups(records, fields)
    held, known = (
        np.array([key in side or group in side for key, group in zip(keys, groups, strict=True)], dtype=bool)
        for side in sides
    )
    free = np.flatnonzero(~held & ~known)
    wanted = config.test * len(records) - held.sum()
    if wanted <= 0 or not len(free):
        return held
    rows = records.take(free).with_column("group", [groups[row] for row in free])
    try:
        split = split_records(
            rows, task, SplitConfig(test=min(wanted / len(free), 0.5), valid=0, seed=config.seed)
        )
    except DataError:  # one group or one class: nothing to divide
        return held
    held[free[split.test]] = True
    return held


def _marks(records: Records, fields: Sequence[str]) -> set[str]:
    """Everything a row of the other side may not share."""
    return {*text_keys(records, fields).to_list(), *_groups(records, fields)}


def _groups(records: Records, fields: Sequence[str]) -> list[str]:
    """Group names, told apart from texts; a row without a group is one with those of its text."""
    names = records.frame.get_column("group").to_list()
    keys = text_keys(records, fields).to_list()
    return [f"\0{name}" if name is not None else key for name, key in zip(names, keys, strict=True)]
