"""Class weights: where they start, and the controller that raises them while a model misses its targets.

Knows nothing of torch: a neural net, a transformer and a booster between rounds all ask the same controller,
with the predictions they make of validation rows, and put its weights into their own loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.metrics import confusion_matrix
from demur.tasks import Task
from demur.training._config import BalanceConfig

_HEAVY_ALPHA = 1.5


def balanced_weights(targets: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Class weights ``n / (present · count)``, ``(k,)``; a class without rows gets 1.

    Their mean over the rows is 1, so the learning rate keeps its meaning.

    References
    ----------
    King and Zeng, "Logistic regression in rare events data", Political Analysis 9 (2001), section 4.2.
    """
    counts = np.bincount(targets, minlength=classes).astype(np.float64)
    present = counts > 0
    weights = np.ones(classes)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def default_alpha(task: Task) -> NDArray[np.float64]:
    """Alpha of focal loss where none is given, ``(k,)``: 1.5 for the class of the score's heaviest term, else 1.

    That is the class whose errors cost most: malicious prompts, soft refusals, attacks that succeeded. Where
    several terms are equally heavy no class is favoured.
    """
    heaviest = max(term.weight for term in task.scoring.terms)
    heavy = [term.label for term in task.scoring.terms if term.weight == heaviest]
    return np.array([_HEAVY_ALPHA if heavy == [label] else 1.0 for label in task.labels])


@dataclass(frozen=True)
class WeightChange:
    """One step of a class weight, with the figure that caused it."""

    step: int
    """The step of training, round or refit after which it was made."""
    label: str
    old: float
    new: float
    metric: str
    """The figure, as in ``recall[malicious]`` or ``false_alarm_rate``."""
    value: float
    target: float

    def to_json(self) -> dict[str, Any]:
        """The change as a JSON object."""
        return {
            "step": self.step,
            "class": self.label,
            "from": self.old,
            "to": self.new,
            "metric": self.metric,
            "value": self.value,
            "target": self.target,
        }


@dataclass(frozen=True)
class _Watch:
    """A figure with its target; ``fault`` names the class to blame from a confusion matrix."""

    name: str
    target: float
    is_ceiling: bool
    measure: Callable[[NDArray[np.float64]], float]
    fault: Callable[[NDArray[np.float64]], int | None]

    def gap(self, value: float) -> float:
        """How far off the target, as a share of how far off it could be; at most 0 where it is met."""
        if self.is_ceiling:
            return (value - self.target) / (1 - self.target)
        return (self.target - value) / self.target


class WeightController:
    """Raises the weight of the class at fault while validation figures are off target.

    It watches the figures in the task's security score, the false-alarm rate and the missed-threat rate. A
    figure off target for ``patience`` evaluations in a row raises one weight by ``alpha_step``; then it has
    ``patience`` evaluations to act. The class at fault is

    * the class itself, where its recall is low;
    * the class most often mistaken for it, where its precision is low: those rows must pull harder;
    * for F1, whichever of the two kinds of error is the more frequent;
    * the safe class most often called a threat, where false alarms are too many;
    * the threat most often called safe, where too many threats are missed.

    An evaluation raises a class at most once. Only ratios of weights matter to a loss, so where every class
    would be raised at once the one whose figure is nearest to its target is not.

    Parameters
    ----------
    task
        Gives the labels, the score's terms, and which labels are safe or a threat.
    config
        Targets, patience, step and bounds.
    initial
        The weights to start with, ``(k,)``, brought within the bounds; 1 each where absent.
    """

    def __init__(self, task: Task, config: BalanceConfig | None = None, initial: ArrayLike | None = None) -> None:
        self.task = task
        self.config = config or BalanceConfig()
        start = np.ones(len(task.labels)) if initial is None else np.asarray(initial, dtype=np.float64)
        self._initial = np.clip(start, self.config.lowest, self.config.highest)
        self._weights = self._initial.copy()
        self._watches = _watches_of(task, self.config)
        self._streaks = {watch.name: 0 for watch in self._watches}
        self._changes: list[WeightChange] = []
        self._evaluations = 0

    @property
    def weights(self) -> NDArray[np.float64]:
        """The class weights now, a copy, ``(k,)``."""
        return self._weights.copy()

    def observe(self, y_true: ArrayLike, y_pred: ArrayLike, step: int) -> list[WeightChange]:
        """Look at one evaluation and raise weights where that is due.

        Parameters
        ----------
        y_true, y_pred
            Class ids of the validation rows ``(n,)``. A figure that these rows do not define keeps its count.
        step
            Where the training is; written into the changes.

        Returns
        -------
        list of WeightChange
            Those made now; most often none.
        """
        true, predicted = np.asarray(y_true, dtype=np.int64), np.asarray(y_pred, dtype=np.int64)
        confusion = confusion_matrix(true, predicted, len(self.task.labels))
        self._evaluations += 1
        changes = []
        for number, (watch, value) in self._due(confusion).items():
            old = float(self._weights[number])
            new = min(round(old + self.config.alpha_step, 10), self.config.highest)
            self._weights[number] = new
            label = self.task.labels[number]
            changes.append(WeightChange(step, label, old, new, watch.name, value, watch.target))
        self._changes += changes
        return changes

    def _due(self, confusion: NDArray[np.float64]) -> dict[int, tuple[_Watch, float]]:
        """The classes to raise, each with the figure furthest off its target; counts every figure's streak."""
        ripe = []
        for watch in self._watches:
            value = watch.measure(confusion)
            if np.isnan(value):
                continue
            gap = watch.gap(value)
            self._streaks[watch.name] = self._streaks[watch.name] + 1 if gap > 0 else 0
            number = watch.fault(confusion)
            has_room = number is not None and self._weights[number] < self.config.highest
            if self._streaks[watch.name] >= self.config.patience and has_room:
                ripe.append((gap, watch, value, number))
        due: dict[int, tuple[_Watch, float]] = {}
        for _, watch, value, number in sorted(ripe, key=lambda found: -found[0]):
            assert number is not None
            if number in due:
                self._streaks[watch.name] = 0
            elif len(due) + 1 < len(self.task.labels):
                due[number] = (watch, value)
                self._streaks[watch.name] = 0
        return due

    def trajectory(self) -> dict[str, Any]:
        """What happened to the weights, as a JSON object: initial, every change and its cause, final."""
        labels = self.task.labels
        return {
            "task": self.task.name,
            "labels": list(labels),
            "initial": dict(zip(labels, self._initial.tolist(), strict=True)),
            "final_alpha": dict(zip(labels, self._weights.tolist(), strict=True)),
            "changes": [change.to_json() for change in self._changes],
            "evaluations": self._evaluations,
            "targets": {watch.name: watch.target for watch in self._watches},
        }

    def state(self) -> dict[str, Any]:
        """All it remembers, as a JSON object for :meth:`restore`."""
        return {
            "initial": self._initial.tolist(),
            "weights": self._weights.tolist(),
            "streaks": dict(self._streaks),
            "changes": [change.to_json() for change in self._changes],
            "evaluations": self._evaluations,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave for the same task and configuration."""
        self._initial = np.array(state["initial"], dtype=np.float64)
        self._weights = np.array(state["weights"], dtype=np.float64)
        self._streaks = dict(state["streaks"])
        self._evaluations = int(state["evaluations"])
        self._changes = [
            WeightChange(
                step=int(change["step"]),
                label=change["class"],
                old=change["from"],
                new=change["to"],
                metric=change["metric"],
                value=change["value"],
                target=change["target"],
            )
            for change in state["changes"]
        ]


def _watches_of(task: Task, config: BalanceConfig) -> list[_Watch]:
    floors = {"recall": config.recall, "precision": config.precision, "f1": config.f1}
    found = {}
    for term in task.scoring.terms:
        name, number = f"{term.metric}[{term.label}]", task.label_id(term.label)
        found[name] = _watch_class(name, term.metric, number, floors[term.metric])
    safe, threat = task.label_ids(task.safe_labels), task.label_ids(task.threat_labels)
    for name, true, called, ceiling in (
        ("false_alarm_rate", safe, threat, config.false_alarm_rate),
        ("missed_threat_rate", threat, safe, config.missed_threat_rate),
    ):
        if true and called:
            found[name] = _watch_rate(name, true, called, ceiling)
    return list(found.values())


def _watch_class(name: str, metric: str, number: int, target: float) -> _Watch:
    def counts(confusion: NDArray[np.float64]) -> tuple[float, float, float]:
        hit = confusion[number, number]
        return hit, confusion[number].sum() - hit, confusion[:, number].sum() - hit

    def measure(confusion: NDArray[np.float64]) -> float:
        hit, missed, wrong = counts(confusion)
        if hit + missed == 0:
            return float("nan")
        # A class that is never predicted has precision 0, as in the security score.
        below = {"recall": hit + missed, "precision": max(hit + wrong, 1), "f1": hit + (missed + wrong) / 2}
        return float(hit / below[metric])

    def fault(confusion: NDArray[np.float64]) -> int | None:
        _, missed, wrong = counts(confusion)
        if metric == "recall" or (metric == "f1" and missed >= wrong) or wrong == 0:
            return number
        mistaken = confusion[:, number].copy()
        mistaken[number] = -1
        return int(mistaken.argmax())

    return _Watch(name, target, False, measure, fault)


def _watch_rate(name: str, true: tuple[int, ...], called: tuple[int, ...], ceiling: float) -> _Watch:
    def errors(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(confusion[np.ix_(true, called)].sum(axis=1))

    def measure(confusion: NDArray[np.float64]) -> float:
        total = confusion[list(true)].sum()
        return float(errors(confusion).sum() / total) if total else float("nan")

    def fault(confusion: NDArray[np.float64]) -> int | None:
        return true[int(errors(confusion).argmax())]

    return _Watch(name, ceiling, True, measure, fault)
