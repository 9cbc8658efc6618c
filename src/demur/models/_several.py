"""Answers to several tasks from one pass: the classes of all tasks stand side by side in one table.

Who makes such a table is left to the ``dual`` family and to its ONNX export.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.data import Records, repair_texts
from demur.models._base import BaseClassifier, Predictions, Probabilities, RecordsLike
from demur.tasks import Task


@runtime_checkable
class SeveralTasks(Protocol):
    """A classifier that answers several tasks, its own first."""

    tasks: tuple[Task, ...]

    def joint_proba(self, records: Records) -> Probabilities:
        """The model's own class probabilities of all tasks side by side, ``(n, Σk)``, none calibrated."""
        ...


def count_classes(tasks: Sequence[Task]) -> tuple[int, ...]:
    """How many classes each task has."""
    return tuple(len(task.labels) for task in tasks)


def split_tasks(values: NDArray[Any], sizes: Sequence[int] = ()) -> list[NDArray[Any]]:
    """The columns of each task, ``(n, k)`` each; all of them as one task's where no sizes are given."""
    return np.split(values, np.cumsum(sizes)[:-1].astype(np.int64), axis=1) if sizes else [values]


def softmax(logits: NDArray[Any], sizes: Sequence[int] = ()) -> Probabilities:
    """Probabilities of logits ``(n, k)``, of each task's by itself, in float64."""
    found = [np.exp(part - part.max(axis=1, keepdims=True)) for part in split_tasks(_as_float(logits), sizes)]
    return np.concatenate([part / part.sum(axis=1, keepdims=True) for part in found], axis=1)


def leads(probabilities: Probabilities, sizes: Sequence[int] = ()) -> NDArray[np.float64]:
    """How far the likeliest class is ahead of the second, ``(n,)``; of the task with the closest call."""
    ordered = [np.sort(part, axis=1) for part in split_tasks(probabilities, sizes)]
    lead: NDArray[np.float64] = np.min([part[:, -1] - part[:, -2] for part in ordered], axis=0)
    return lead


def likeliest(probabilities: Probabilities, sizes: Sequence[int] = ()) -> NDArray[np.int64]:
    """The most probable class of each task, ``(n, tasks)``."""
    return np.stack([part.argmax(axis=1) for part in split_tasks(probabilities, sizes)], axis=1)


def answer_all(
    classifier: BaseClassifier[Any], tasks: Sequence[Task], joint: Probabilities
) -> dict[str, Probabilities]:
    """Class probabilities ``(n, k)`` by task name, the classifier's own calibrated where it has a calibration."""
    parts = split_tasks(joint, count_classes(tasks))
    found = {task.name: part for task, part in zip(tasks, parts, strict=True)}
    if classifier.calibration is not None:
        found[classifier.task.name] = classifier.calibration.apply(found[classifier.task.name])
    return found


def predict_all(classifier: Any, records: RecordsLike) -> dict[str, Predictions]:
    """Judge records on every task of a classifier that is :class:`SeveralTasks`, by task name.

    Texts are repaired as in ``predict``. Calibration, operating points and abstention are those of the
    classifier's own task; the other tasks' probabilities are the model's own.
    """
    if isinstance(records, pl.DataFrame):
        records = Records(records)
    elif not isinstance(records, Records):
        records = Records.from_rows(records)
    ids = records.texts("id")
    found = answer_all(classifier, classifier.tasks, classifier.joint_proba(repair_texts(records)))
    ready = {classifier.task.name: (classifier.operating, classifier.conformal)}
    return {
        task.name: Predictions(task, ids, found[task.name], *ready.get(task.name, (None, None)))
        for task in classifier.tasks
    }


def _as_float(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
