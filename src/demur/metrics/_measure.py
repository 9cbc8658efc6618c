"""All metrics of one set of predictions at once, for the rows as they are or for many weightings of them.

Holds the metric names. What is sorted, counted or binned is prepared once; a bootstrap draw then costs a few
array operations. Intervals and the results people see are made in ``_evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np

from demur.errors import UsageError, near_match
from demur.metrics import _classification as counts
from demur.metrics._calibration import BINS, equal_mass_bins, top_label
from demur.metrics._inputs import BoolArray, FloatArray, IntArray
from demur.metrics._ranking import Ranking
from demur.metrics._security import security_scores
from demur.tasks import Task

COUNT_METRICS = (
    "custom_score",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "accuracy",
    "false_alarm_rate",
    "missed_threat_rate",
)
RECALL_AT = {"recall_at_fpr_1": 0.01, "recall_at_fpr_0_1": 0.001}
"""Metric name to the false-positive rate allowed."""
PROBABILITY_METRICS = ("roc_auc", "pr_auc", "ece", *RECALL_AT)
LOWER_IS_BETTER = frozenset({"false_alarm_rate", "missed_threat_rate", "ece"})
_CLASS_METRICS = ("precision", "recall", "f1")


def metric_names(task: Task) -> tuple[str, ...]:
    """All metrics of a task; those of one class end in ``_c<class id>``."""
    by_class = [f"{name}_c{c}" for c in range(len(task.labels)) for name in _CLASS_METRICS]
    return (*COUNT_METRICS, *PROBABILITY_METRICS, *by_class)


def check_metric(task: Task, name: str) -> str:
    """Return ``name`` if the task has such a metric.

    Raises
    ------
    UsageError
        It has not; the message lists those it has.
    """
    known = metric_names(task)
    if name not in known:
        raise UsageError(
            f"task '{task.name}' has no metric '{name}' (known: {', '.join(known)}){near_match(name, known)}"
        )
    return name


class Measurement:
    """Predictions made ready to be measured under any weights of their groups.

    Parameters
    ----------
    task
        Gives labels, threat and safe labels, and cost structure.
    y_true, y_pred
        Class ids, ``(n,)``.
    probabilities
        ``(n, k)``; None where only labels were predicted, then there are only count metrics.
    groups
        Group numbers ``0..g-1``, ``(n,)``.
    names
        Metrics to measure; all of the task's where absent.
    """

    def __init__(
        self,
        task: Task,
        y_true: IntArray,
        y_pred: IntArray,
        probabilities: FloatArray | None,
        groups: IntArray,
        names: Iterable[str] | None = None,
    ) -> None:
        self.task, self.y_true, self.groups = task, y_true, groups
        self.names = tuple(metric_names(task) if names is None else names)
        self.n_groups = int(groups.max()) + 1
        self._probabilities = probabilities
        self._k = len(task.labels)
        self._threat = task.label_ids(task.threat_labels)
        self._safe = task.label_ids(task.safe_labels)
        self._cells = y_true * self._k + y_pred
        self.confusion = counts.confusion_matrix(y_true, y_pred, self._k)
        self.present = counts.present_classes(self.confusion)

    def measure(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Value of each metric under each weighting; NaN where it is undefined.

        Parameters
        ----------
        weights
            How often each group counts, ``(d, g)``.

        Returns
        -------
        dict of str to ndarray, shape (d,)
        """
        found = self._measure_counts(weights)
        if self._wants("roc_auc", "pr_auc"):
            found |= self._measure_areas(weights)
        if self._wants(*RECALL_AT):
            groups, ranking = self._threat_ranking
            curve = ranking.curve(weights[:, groups])
            found |= {name: curve.recall_at(rate) for name, rate in RECALL_AT.items()}
        if self._wants("ece"):
            found["ece"] = self._measure_calibration(weights)
        return {name: found[name] for name in self.names}

    def missing_reason(self, name: str) -> str:
        """Why a metric has no value on these rows."""
        if name in ("false_alarm_rate", "missed_threat_rate"):
            if not self._safe:
                return "the task names no safe label; set safe: in it"
            kind = "safe" if name == "false_alarm_rate" else "threat"
            labels = self.task.safe_labels if kind == "safe" else self.task.threat_labels
            return f"no row is truly of a {kind} label ({', '.join(labels)})"
        if name in ("roc_auc", "pr_auc"):
            return f"all rows are of one class ('{self.task.labels[int(self.y_true[0])]}')"
        if name in RECALL_AT:
            return self._missing_recall(RECALL_AT[name])
        if "_c" in name:
            return f"no row is truly '{self.task.labels[int(name.rpartition('_c')[2])]}'"
        return "undefined on these rows"

    def support(self, name: str) -> int:
        """Number of rows behind a metric: those in its denominator, all rows where it has none."""
        cells = self._denominator(name)
        return len(self.y_true) if cells is None else int(self.confusion[cells].sum())

    def support_groups(self, name: str) -> int | None:
        """Number of groups with a row in the denominator of a rate; None for what is not a rate."""
        cells = self._denominator(name)
        if cells is None:
            return None
        return len(np.unique(self.groups[cells.ravel()[self._cells]]))

    def _denominator(self, name: str) -> BoolArray | None:
        """Cells of the confusion matrix over which a rate is taken, ``(k, k)``; None if it is no rate."""
        cells = np.zeros((self._k, self._k), dtype=np.bool_)
        kind, _, number = name.rpartition("_c")
        if name == "accuracy":
            cells[:] = True
        elif name == "false_alarm_rate":
            cells[list(self._safe)] = True
        elif name == "missed_threat_rate" or name in RECALL_AT:
            cells[list(self._threat)] = True
        elif kind == "recall":
            cells[int(number)] = True
        elif kind == "precision":
            cells[:, int(number)] = True
        else:
            return None
        return cells

    def _wants(self, *names: str) -> bool:
        return any(name in self.names for name in names)

    @cached_property
    def _group_cells(self) -> FloatArray:
        """Confusion matrix of each group, flattened, ``(g, k*k)``."""
        width = self._k * self._k
        cells = np.bincount(self.groups * width + self._cells, minlength=self.n_groups * width)
        return cells.reshape(self.n_groups, width).astype(np.float64)

    def _measure_counts(self, weights: FloatArray) -> dict[str, FloatArray]:
        confusion = (weights @ self._group_cells).reshape(-1, self._k, self._k)
        makers: dict[str, Callable[[], FloatArray]] = {
            "custom_score": lambda: security_scores(self.task, confusion, self.present),
            "accuracy": lambda: counts.accuracy(confusion),
            "false_alarm_rate": lambda: counts.confusion_rate(confusion, self._safe, self._threat),
            "missed_threat_rate": lambda: counts.confusion_rate(confusion, self._threat, self._safe),
        }
        found = {name: make() for name, make in makers.items() if name in self.names}
        if not self._wants(*(name for name in self.names if name not in (*makers, *PROBABILITY_METRICS))):
            return found
        for name, values in zip(_CLASS_METRICS, counts.class_scores(confusion), strict=True):
            found[f"{name}_macro"] = counts.macro_average(values, self.present)
            found |= {f"{name}_c{c}": values[:, c] for c in range(self._k)}
        return found

    def _ranked(self, positive: BoolArray, score: FloatArray) -> tuple[IntArray, Ranking]:
        ranking = Ranking(positive, score)
        return self.groups[ranking.order], ranking

    @property
    def _scores(self) -> FloatArray:
        if self._probabilities is None:
            raise UsageError(f"{', '.join(self.names)} need probabilities, and only labels were predicted")
        return self._probabilities

    @cached_property
    def _class_rankings(self) -> list[tuple[IntArray, Ranking]]:
        """Each present class against the rest; for two classes the threat alone."""
        if self._k == 2:
            positives = list(self._threat) if len(self._threat) == 1 else [1]
        else:
            positives = np.flatnonzero(self.present).tolist()
        return [self._ranked(self.y_true == c, self._scores[:, c]) for c in positives]

    @cached_property
    def _threat_ranking(self) -> tuple[IntArray, Ranking]:
        """Threats against all other rows, by the sum of the threat probabilities."""
        score = self._scores[:, list(self._threat)].sum(axis=1)
        return self._ranked(np.isin(self.y_true, self._threat), score)

    def _measure_areas(self, weights: FloatArray) -> dict[str, FloatArray]:
        roc, pr = np.zeros(len(weights)), np.zeros(len(weights))
        for groups, ranking in self._class_rankings:
            curve = ranking.curve(weights[:, groups])
            roc += curve.roc_auc() / len(self._class_rankings)
            pr += curve.average_precision() / len(self._class_rankings)
        return {"roc_auc": roc, "pr_auc": pr}

    @cached_property
    def _calibration_gaps(self) -> FloatArray:
        """Sum of (confidence - right) of each group in each bin, ``(g, b)``; bins are those of all rows."""
        confidence, right = top_label(self.y_true, self._scores)
        cells = self.groups * BINS + equal_mass_bins(confidence)
        gaps = np.bincount(cells, confidence - right, minlength=self.n_groups * BINS)
        return gaps.astype(np.float64).reshape(self.n_groups, BINS)

    def _measure_calibration(self, weights: FloatArray) -> FloatArray:
        rows = weights @ np.bincount(self.groups, minlength=self.n_groups)
        return np.asarray(np.abs(weights @ self._calibration_gaps).sum(axis=1) / rows)

    def recall_is_resolved(self, name: str) -> bool:
        """Whether there are negatives enough to tell the false-positive rate of a metric from zero."""
        negatives = int((~np.isin(self.y_true, self._threat)).sum())
        return negatives >= round(1 / RECALL_AT[name])

    def _missing_recall(self, rate: float) -> str:
        negatives = int((~np.isin(self.y_true, self._threat)).sum())
        if negatives == len(self.y_true):
            return f"no row is truly of a threat label ({', '.join(self.task.threat_labels)})"
        return f"needs at least {round(1 / rate)} rows that are no threat, found {negatives}"
