"""Rows of several tasks as one table: each text once, with the label of every task that has one for it.

Only labels that were given for a task are used: those of its own records, whatever other columns they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demur.data import Records, text_keys
from demur.tasks import Task

MISSING_LABEL = -100
"""The class id that the losses of the training loop leave out."""
Part = tuple[Task, Records]
"""A task and records that all have a label of it."""
_TEXTS = ("prompt", "response", "model", "source", "group")


@dataclass(frozen=True)
class JoinedRows:
    """``n`` different texts with a label for each of ``t`` tasks, or none."""

    records: Records
    targets: NDArray[np.int64]
    """Class ids ``(n, t)``; ``MISSING_LABEL`` where a text has no label of the task."""

    def __len__(self) -> int:
        return len(self.records)


def join_rows(parts: Sequence[Part], fields: Sequence[str]) -> JoinedRows:
    """Join the labelled rows of several tasks by the texts of the fields.

    Texts that differ in case and white space alone are one row. Where its labels of a task contradict each
    other it has none; a text without any label is left out. The order is that of first appearance.
    """
    records = Records.concat([Records(part.frame.select("id", *_TEXTS)) for _, part in parts])
    numbers: dict[str, int] = {}
    keys = text_keys(records, fields).to_list()
    places = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    firsts = np.unique(places, return_index=True)[1]
    targets = np.full((len(numbers), len(parts)), MISSING_LABEL, dtype=np.int64)
    start = 0
    for column, (task, part) in enumerate(parts):
        here = places[start : start + len(part)]
        start += len(part)
        targets[:, column] = _agreed(here, part.targets(task), len(numbers))
    kept = np.flatnonzero((targets != MISSING_LABEL).any(axis=1))
    return JoinedRows(records.take(firsts[kept]), targets[kept])


def _agreed(places: NDArray[np.int64], labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The label of each of ``count`` texts ``(count,)``, missing where it has none or several."""
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    np.minimum.at(low, places, labels)
    np.maximum.at(high, places, labels)
    return np.where(low == high, high, MISSING_LABEL).astype(np.int64)
