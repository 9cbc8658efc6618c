"""Rows of other tasks for a model that learns several at once, none of which tells of the held-out ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from demur.data import Records, Split, text_keys
from demur.experiment._prepare import TaskData
from demur.tasks import Task

_HELD_BY = {"leave_one_model_out": "model", "leave_one_source_out": "source"}


def gather_companions(
    data: TaskData, others: Mapping[str, TaskData], split: Split, held: NDArray[np.int64]
) -> dict[str, tuple[Task, Records]]:
    """Training rows of the other tasks that share nothing with the held-out rows of ``data``.

    Left out is every row whose group holds a held-out row, in the grouping of either task; whose text, as the
    task reads it, is a held-out or a blind one; and, where an answering model or a source is held out, every
    row of it.

    Parameters
    ----------
    data
        The task that is fitted.
    others
        All tasks of the experiment by name; ``data`` itself may be among them.
    split
        Which value is held out, where one is.
    held
        Positions of the held-out rows in ``data.records``: test, validation, early stopping.
    """
    rows = data.records.take(held)
    groups = {data.base_groups[row] for row in held.tolist()} | set(rows.frame["group"].to_list())
    texts = set(text_keys(rows, data.task.fields).to_list())
    if data.blind is not None:
        texts |= set(text_keys(data.blind, data.task.fields).to_list())
    found = {}
    for name, other in others.items():
        if name == data.task.name:
            continue
        own = np.array(other.records.frame["group"].to_list(), dtype=object)
        barred = _is_in(np.array(other.base_groups, dtype=object), groups) | _is_in(own, groups)
        barred |= _is_in(text_keys(other.records, data.task.fields).to_numpy(), texts)
        barred = _is_in(own, set(own[barred].tolist()))
        column = _HELD_BY.get(split.name)
        if column is not None:
            barred |= other.records.column(column) == split.fold
        if not barred.all():
            found[name] = (other.task, other.records.take(np.flatnonzero(~barred)))
    return found


def _is_in(values: NDArray[np.object_], among: set[str]) -> NDArray[np.bool_]:
    return np.fromiter((value in among for value in values), dtype=bool, count=len(values))
