"""Figures of each fold, and the corrected resampled t-test of two models over the folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.analysis._predicted import Predicted
from demur.metrics import Measurement
from demur.tasks import Task


@dataclass(frozen=True)
class CorrectedT:
    """The corrected resampled t-test of one figure; ``p`` None with the reason where it cannot be had."""

    mean: float | None
    """Mean over the folds of a less b."""
    statistic: float | None
    df: int
    p: float | None
    reason: str | None = None


def fold_scores(task: Task, rows: Predicted, metrics: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Each figure on each fold, ``(folds,)`` in the order of :func:`fold_names`; NaN where it has none."""
    folds = np.array(rows.column("fold"), dtype=object)
    found: dict[str, list[float]] = {metric: [] for metric in metrics}
    for name in fold_names(rows):
        part = rows.take(np.flatnonzero(folds == name))
        measurement = Measurement(task, part.y, part.called, part.proba, part.groups, metrics)
        values = measurement.measure(np.ones((1, measurement.n_groups)))
        for metric in metrics:
            found[metric].append(float(values[metric][0]))
    return {metric: np.array(values) for metric, values in found.items()}


def fold_names(rows: Predicted) -> list[str]:
    """The folds in order, numbers by size."""
    names = {name for name in rows.column("fold") if name is not None}
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def rows_share(rows: Predicted) -> float:
    """Mean over the folds of test rows for each training row: ``1 / (J - 1)`` for J equal folds."""
    sizes = np.unique(np.array([name or "" for name in rows.column("fold")]), return_counts=True)[1]
    return float(np.mean(sizes / np.maximum(len(rows) - sizes, 1)))


def corrected_t(differences: ArrayLike, share: float) -> CorrectedT:
    """Nadeau and Bengio's corrected resampled t-test: folds share training rows, so the variance is raised.

    ``t = mean / sqrt((1/J + share) · s²)`` with ``J - 1`` degrees of freedom.

    Parameters
    ----------
    differences
        Figure of a less that of b on each of ``J`` folds, ``(J,)``; NaN where a fold has none.
    share
        Test rows for each training row of a fold.

    References
    ----------
    Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003, section 4.2.
    """
    from scipy import stats

    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    df = len(values) - 1
    if df < 1:
        return CorrectedT(None, None, max(df, 0), None, "fewer than two folds have the figure")
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    if variance < 1e-24:
        if abs(mean) < 1e-12:
            return CorrectedT(0.0, 0.0, df, 1.0)
        return CorrectedT(mean, None, df, None, "every fold gives the same difference")
    statistic = mean / math.sqrt((1 / len(values) + share) * variance)
    return CorrectedT(mean, statistic, df, float(2 * stats.t.sf(abs(statistic), df)))
