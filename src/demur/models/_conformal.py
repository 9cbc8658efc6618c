"""Conformal abstention: sets of labels that hold the true one as often as asked; "unsure" where one is too few.

The guarantee is of frequency and needs no model of the scores: rows to come must be exchangeable with the rows the
thresholds were found on. Rows of one group are not exchangeable with each other's strangers, so by default groups
are: each counts once, however many rows it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from demur.config import Settings
from demur.errors import ArtifactError
from demur.tasks import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_SLACK = 1e-9
"""Scores so far above a threshold still pass: a tie may end so on another processor; more labels cover more."""


class ConformalConfig(Settings):
    """How answers are withheld."""

    alpha: float = Field(default=0.05, gt=0, lt=1, description="Share of rows whose set may miss the true label.")
    abstain: Literal["lac", "aps"] = Field(
        default="lac", description="Score: lac, 1 - p(label); aps, the sum of the probabilities above the label's."
    )
    by_class: bool = Field(
        default=False, description="Keep the promise for each true class alone; takes rows of every class."
    )
    unit: Literal["group", "row"] = Field(
        default="group", description="What is exchangeable: groups (each counts once) or single rows."
    )


@dataclass(frozen=True)
class Conformal:
    """Thresholds of conformity: a label is in a row's set if its score is at most the label's threshold."""

    config: ConformalConfig
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    """One a class; infinite where the calibration rows are too few to leave the label out of any set."""
    units: tuple[int, ...]
    """Groups (or rows) behind each threshold."""

    def sets(self, probabilities: FloatArray) -> BoolArray:
        """Which labels are in the set of each row, ``(n, k)``.

        Where no label would be, the most probable is: sets only grow by it, so the promise holds.
        """
        found = np.asarray(label_scores(probabilities, self.config.abstain) <= np.array(self.thresholds) + _SLACK)
        empty = ~found.any(axis=1)
        found[empty, probabilities[empty].argmax(axis=1)] = True
        return found

    def unsure(self, probabilities: FloatArray) -> BoolArray:
        """Rows whose set is not the most probable label alone, ``(n,)``."""
        found = self.sets(probabilities)
        best = probabilities.argmax(axis=1)
        return np.asarray((found.sum(axis=1) != 1) | ~found[np.arange(len(found)), best])

    @property
    def guarantee(self) -> str:
        """What is promised, and on what condition."""
        share, alpha = f"{1 - self.config.alpha:.4g}", f"{self.config.alpha:.4g}"
        whose = " of each true class" if self.config.by_class else ""
        unit = "a row of a new group" if self.config.unit == "group" else "a new row"
        alike = "new groups are" if self.config.unit == "group" else "new rows are"
        return (
            f"the set of {unit}{whose} holds its label with probability at least {share}, and a wrong answer is "
            f"given as sure with probability at most {alpha}, if {alike} exchangeable with the "
            f"{min(self.units)} held out here and if this model was not itself chosen on these rows; rows of "
            "another source or answerer are not exchangeable with them"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """The labels for which there were too few calibration rows."""
        least = int(np.ceil(1 / self.config.alpha - 1e-9)) - 1
        kind = "group" if self.config.unit == "group" else "row"
        short = {
            label: count
            for label, count, bound in zip(self.labels, self.units, self.thresholds, strict=True)
            if np.isinf(bound)
        }
        if not short:
            return ()
        listed = ", ".join(f"'{label}' {count}" for label, count in short.items())
        return (
            f"abstention at alpha {self.config.alpha:g} takes at least {least} {kind}s"
            f"{' of each class' if self.config.by_class else ''}, found {listed}: "
            "these labels are in every set; give more rows or a larger alpha",
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, an infinite threshold as null; :meth:`from_json` gives the very same sets."""
        return {
            "config": self.config.model_dump(mode="json"),
            "labels": list(self.labels),
            "thresholds": [None if np.isinf(bound) else bound for bound in self.thresholds],
            "units": list(self.units),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Conformal:
        """Read back what :meth:`to_json` gave.

        Raises
        ------
        ArtifactError
            It is incomplete.
        """
        try:
            bounds = tuple(np.inf if bound is None else float(bound) for bound in values["thresholds"])
            config = ConformalConfig.model_validate(values["config"])
            return cls(config, tuple(values["labels"]), bounds, tuple(values["units"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"the abstention thresholds are damaged ({type(error).__name__}); "
                "restore the file or make the model ready again"
            ) from None


def fit_conformal(
    task: Task, y: IntArray, probabilities: FloatArray, groups: IntArray, config: ConformalConfig | None = None
) -> Conformal:
    """Find the thresholds of conformity.

    By rows, a threshold is the ``ceil((n + 1)(1 - alpha))``-th smallest score of the ``n`` rows. By groups, each
    of the ``g`` groups has weight ``1 / (g + 1)``, shared evenly by its rows, and the weight left over lies at
    infinity; the threshold is the smallest score with ``1 - alpha`` of the weight at or below it. Where every
    group has one row, the two are the same.

    Parameters
    ----------
    task
        Gives the labels.
    y, probabilities, groups
        True classes ``(n,)``, calibrated probabilities ``(n, k)`` and group numbers ``(n,)`` of rows that neither
        the classifier nor its calibration learned from.
    config
        Level, score, and what is exchangeable.

    References
    ----------
    Vovk, Gammerman and Shafer, Algorithmic learning in a random world, 2005, sections 2.2 and 4.5 (by class);
    Sadinle, Lei and Wasserman, Least ambiguous set-valued classifiers with bounded error levels, J. Am. Stat.
    Assoc. 114, 2019 (``lac``); Romano, Sesia and Candes, Classification with valid and adaptive coverage, NeurIPS
    2020 (``aps``, here not randomised: the same row always gets the same set); Lee, Barber and Willett,
    Distribution-free inference with hierarchical data, 2023, section 2 (groups).
    """
    config = config or ConformalConfig()
    scores = label_scores(probabilities, config.abstain)[np.arange(len(y)), y]
    units = groups if config.unit == "group" else np.arange(len(y))
    parts = [y == number for number in range(len(task.labels))] if config.by_class else [np.ones(len(y), np.bool_)]
    found = [weighted_threshold(scores[part], units[part], config.alpha) for part in parts]
    if not config.by_class:
        found = found * len(task.labels)
    return Conformal(config, task.labels, tuple(bound for bound, _ in found), tuple(count for _, count in found))


def label_scores(probabilities: FloatArray, kind: str) -> FloatArray:
    """How badly each label fits its row, ``(n, k)``; equal probabilities rank by class id in ``aps``."""
    if kind == "lac":
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    scores = np.empty_like(before)
    np.put_along_axis(scores, order, before, axis=1)
    return scores


def weighted_threshold(scores: FloatArray, units: IntArray, alpha: float) -> tuple[float, int]:
    """The threshold that leaves out ``alpha`` of the weight, infinite where units are few, and their number."""
    if not len(scores):
        return np.inf, 0
    _, inside, sizes = np.unique(units, return_inverse=True, return_counts=True)
    count = len(sizes)
    order = np.argsort(scores, kind="stable")
    covered = np.cumsum(1 / sizes[inside][order])
    # Weights are counted in units, not shares of them; the slack undoes the rounding of the sum.
    place = int(np.searchsorted(covered, (1 - alpha) * (count + 1) - 1e-9 * count))
    return (float(scores[order[place]]) if place < len(scores) else np.inf), count
