"""Class weights that follow what a head misses: between boosting rounds, or between refits.

A grouped part of the training rows is set aside. The head learns from the rest, is judged on that part, and the
controller raises the weight of the class at fault. What was learned so is a schedule of class weights; the head
that is kept then learns from all rows by that schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.metrics import security_score
from demur.models.classical._boost import BoostedHead
from demur.models.classical._config import BOOSTED, ClassicalConfig
from demur.models.classical._folds import Folds, grouped_folds
from demur.models.classical._heads import CALIBRATED, balance_weights, fit_head, new_head
from demur.tasks import Task
from demur.training import WeightController

Columns = NDArray[np.int64] | None
Choose = Callable[[Any, NDArray[np.int64]], Columns]
_SHARES = 5
"""One fifth of the rows is watched."""


@dataclass(frozen=True)
class TrainingRows:
    """What a head learns from: features ``(n, d)``, class ids without a gap and groups ``(n,)``.

    Parameters
    ----------
    matrix, targets, groups
        One row a text.
    classes
        The task's id of each class id, ``(k,)``.
    """

    matrix: Any
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    classes: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> TrainingRows:
        """Some rows."""
        return TrainingRows(self.matrix[rows], self.targets[rows], self.groups[rows], self.classes)

    def columns(self, kept: Columns) -> TrainingRows:
        """Some columns; all where None."""
        matrix = self.matrix if kept is None else self.matrix[:, kept]
        return TrainingRows(matrix, self.targets, self.groups, self.classes)

    def folds(self, config: ClassicalConfig, seed: int) -> Folds | None:
        """Grouped folds for a head that has to be calibrated."""
        return grouped_folds(self.groups, self.targets, 3, seed) if config.head in CALIBRATED else None


@dataclass(frozen=True)
class Schedule:
    """Class weights ``(k,)`` for each part of the rounds (one for a head without rounds), and how they came."""

    weights: list[NDArray[np.float64]]
    trajectory: dict[str, Any]


def learn_schedule(task: Task, config: ClassicalConfig, rows: TrainingRows, choose: Choose, seed: int) -> Schedule:
    """Watch a head on a grouped part of the rows and let its class weights follow.

    Parameters
    ----------
    task
        Says which figures count and who is at fault.
    config, seed
        The head, the controller's targets, and how often to look.
    rows
        All training rows.
    choose
        Picks columns, by the labels of the rows that are learned from alone.
    """
    learned, watched = grouped_folds(rows.groups, rows.targets, _SHARES, seed)[0]
    part, other = rows.take(learned), rows.take(watched)
    kept = choose(part.matrix, part.targets)
    watch = _Watch(task, config, part.columns(kept), other.columns(kept), seed)
    return watch.boost() if config.head in BOOSTED else watch.refit()


def fit_by_schedule(config: ClassicalConfig, rows: TrainingRows, schedule: Schedule, seed: int) -> Any:
    """A head that learns from all rows by a schedule of class weights."""
    head = new_head(config, seed, rows.folds(config, seed))
    if not isinstance(head, BoostedHead):
        return fit_head(head, rows.matrix, rows.targets, _weigh(rows, schedule.weights[0]))
    for rounds, weights in zip(split_rounds(config), schedule.weights, strict=True):
        head.add_rounds(rows.matrix, rows.targets, _weigh(rows, weights), rounds)
    return head


def split_rounds(config: ClassicalConfig) -> list[int]:
    """The boosting rounds in ``evaluations`` parts, as even as they can be."""
    parts = min(config.evaluations, config.trees)
    return [len(part) for part in np.array_split(np.arange(config.trees), parts)]


@dataclass(frozen=True)
class _Watch:
    task: Task
    config: ClassicalConfig
    learned: TrainingRows
    watched: TrainingRows
    seed: int

    def boost(self) -> Schedule:
        """Raise weights between parts of the rounds."""
        controller, head = self._start(), self._new_head()
        schedule, scores, rounds = [], [], 0
        for part in split_rounds(self.config):
            weights = controller.weights[self.learned.classes]
            schedule.append(weights)
            head.add_rounds(self.learned.matrix, self.learned.targets, _weigh(self.learned, weights), part)
            rounds += part
            predicted = self._predict(head)
            scores.append(self._score(predicted))
            if rounds < self.config.trees:  # later weights would serve no round
                controller.observe(self._true(), predicted, rounds)
        return Schedule(schedule, self._tell(controller, scores, schedule[-1]))

    def refit(self) -> Schedule:
        """Raise weights between refits; those of the best security score are kept."""
        controller = self._start()
        tried: list[tuple[float, NDArray[np.float64]]] = []
        predicted: NDArray[np.int64] | None = None
        for look in range(1, self.config.evaluations + 1):
            if predicted is None:  # the weights are new; else a refit would give the same
                weights = controller.weights[self.learned.classes]
                head = fit_head(
                    self._new_head(), self.learned.matrix, self.learned.targets, _weigh(self.learned, weights)
                )
                predicted = self._predict(head)
                tried.append((self._score(predicted), weights))
            if controller.observe(self._true(), predicted, look):
                predicted = None
        best = max(tried, key=lambda found: found[0])[1]
        return Schedule([best], self._tell(controller, [score for score, _ in tried], best))

    def _start(self) -> WeightController:
        return WeightController(self.task, self.config.controller)

    def _new_head(self) -> Any:
        return new_head(self.config, self.seed, self.learned.folds(self.config, self.seed))

    def _predict(self, head: Any) -> NDArray[np.int64]:
        """Task ids of the watched rows, ``(m,)``."""
        columns = np.asarray(head.predict_proba(self.watched.matrix)).argmax(axis=1)
        return np.asarray(self.watched.classes[columns], dtype=np.int64)

    def _true(self) -> NDArray[np.int64]:
        return self.watched.classes[self.watched.targets]

    def _score(self, predicted: NDArray[np.int64]) -> float:
        return float(security_score(self.task, self._true(), predicted).value)

    def _tell(
        self, controller: WeightController, scores: list[float], chosen: NDArray[np.float64]
    ) -> dict[str, Any]:
        labels = [self.task.labels[number] for number in self.learned.classes]
        return controller.trajectory() | {
            "base": "balanced",
            "rows_watched": len(self.watched.targets),
            "scores": scores,
            "chosen": dict(zip(labels, chosen.tolist(), strict=True)),
        }


def _weigh(rows: TrainingRows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row weights ``(n,)``: balanced, times those of the classes."""
    found: NDArray[np.float64] = balance_weights(rows.targets) * weights[rows.targets]
    return found
