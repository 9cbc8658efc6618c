"""Dividing judged rows by group: what fits a map may not be what it is measured on."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.data import Records, SplitConfig, cross_validate, split_records
from demur.errors import DataError
from demur.tasks import Task

IntArray = NDArray[np.int64]


def fold_numbers(task: Task, y: IntArray, groups: IntArray, folds: int, seed: int) -> IntArray | None:
    """Fold of each row ``(n,)``: whole groups, classes spread over the folds; fewer folds where groups are few.

    None where the rows are of one class or of one group, which no fold may divide.
    """
    folds = min(folds, len(np.unique(groups)))
    if folds < 2 or len(np.unique(y)) < 2:
        return None
    numbers = np.empty(len(y), dtype=np.int64)
    for number, split in enumerate(cross_validate(_as_records(task, y, groups), task, folds, seed)):
        numbers[split.test] = number
    return numbers


def split_off(task: Task, y: IntArray, groups: IntArray, share: float, seed: int) -> NDArray[np.bool_] | None:
    """Mark about ``share`` of the rows, whole groups, stratified, ``(n,)``; None as in :func:`fold_numbers`."""
    if len(np.unique(y)) < 2:
        return None
    try:
        split = split_records(_as_records(task, y, groups), task, SplitConfig(test=share, valid=0, seed=seed))
    except DataError:
        return None
    marked = np.zeros(len(y), dtype=np.bool_)
    marked[split.test] = True
    return marked


def _as_records(task: Task, y: IntArray, groups: IntArray) -> Records:
    labels = np.array(task.labels, dtype=object)[y].tolist()
    columns = {"prompt": [""] * len(y), "group": [str(group) for group in groups], task.name: labels}
    return Records(pl.DataFrame(columns))
