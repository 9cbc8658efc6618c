"""Calibration: the map from a classifier's probabilities to honest ones, chosen and fitted on held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import Field

from demur.config import Settings
from demur.errors import ArtifactError
from demur.metrics import log_losses, security_score
from demur.models._calibrate_maps import APPLIES, FITS, FloatArray, IntArray
from demur.models._folds import fold_numbers
from demur.tasks import Task

Method = Literal["none", "temperature", "platt", "isotonic"]
LEAST_ROWS: Mapping[str, int] = {"none": 0, "temperature": 30, "platt": 100, "isotonic": 500}
"""Rows from which ``auto`` tries a method: the freer the map, the more of them it takes to pin it down."""


class CalibrationConfig(Settings):
    """How probabilities are calibrated."""

    method: Literal["auto", "none", "temperature", "platt", "isotonic"] = Field(
        default="auto", description="auto: the simplest not clearly beaten in cross-fitted log loss."
    )
    folds: int = Field(default=5, ge=2, le=20, description="Grouped folds of the cross-fit.")


@dataclass(frozen=True)
class MethodLoss:
    """The cross-fitted log loss of one method, beside that of the simpler one it had to beat."""

    value: float
    better_by: float | None
    """How much less it loses a row than the simpler method; None for the simplest."""
    standard_error: float | None
    """Of ``better_by``, over groups; None for the simplest."""
    score: float
    """The cross-fitted security score."""


@dataclass(frozen=True)
class Calibration:
    """A fitted map of probabilities."""

    method: Method
    labels: tuple[str, ...]
    numbers: Mapping[str, Any]
    """What the map consists of, as plain numbers."""
    rows: int
    """Rows it was fitted on."""
    reason: str
    """Why this method."""
    losses: Mapping[str, MethodLoss] = field(default_factory=dict)
    """The methods tried, the simplest first."""

    def apply(self, probabilities: FloatArray) -> FloatArray:
        """Calibrated probabilities ``(n, k)`` of a classifier's own."""
        if not len(probabilities):
            return probabilities
        return APPLIES[self.method](self.numbers, probabilities)

    def to_json(self) -> dict[str, Any]:
        """As plain values; :meth:`from_json` gives the very same map."""
        losses = {
            name: {
                "value": loss.value,
                "better_by": loss.better_by,
                "standard_error": loss.standard_error,
                "score": loss.score,
            }
            for name, loss in self.losses.items()
        }
        return {
            "method": self.method,
            "labels": list(self.labels),
            "numbers": dict(self.numbers),
            "rows": self.rows,
            "reason": self.reason,
            "losses": losses,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Read back what :meth:`to_json` gave.

        Raises
        ------
        ArtifactError
            It is incomplete, or of a method this demur does not know.
        """
        try:
            found = cls(
                values["method"],
                tuple(values["labels"]),
                values["numbers"],
                values["rows"],
                values["reason"],
                {name: MethodLoss(**loss) for name, loss in values["losses"].items()},
            )
            found.apply(np.full((1, len(found.labels)), 1 / len(found.labels)))
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise ArtifactError(
                f"the calibration is damaged or of a newer demur ({type(error).__name__}: {error}); "
                "restore the file or make the model ready again"
            ) from None
        return found


def fit_calibration(
    task: Task,
    y: IntArray,
    probabilities: FloatArray,
    groups: IntArray,
    config: CalibrationConfig | None = None,
    seed: int = 0,
) -> Calibration:
    """Choose a method by cross-fitting over whole groups, and fit it on all rows.

    ``auto`` goes from the simplest method to the freest and moves on only where the cross-fitted log loss falls by
    more than one standard error (over groups) of the difference, and where the labels so given have no lower
    cross-fitted security score: few rows keep it simple, and weights that a model learned rare threats with are
    not undone for the sake of frequencies. Rows of one class allow no calibration, whatever was asked for.

    Parameters
    ----------
    task
        Gives the labels.
    y, probabilities, groups
        True classes ``(n,)``, the classifier's probabilities ``(n, k)`` and group numbers ``(n,)`` of rows it did
        not learn from.
    config
        Method and folds.
    seed
        Of the folds.

    References
    ----------
    Hastie, Tibshirani and Friedman, The elements of statistical learning, 2nd edition, section 7.10, on the rule
    of one standard error.
    """
    config = config or CalibrationConfig()
    if len(np.unique(y)) < 2:
        return Calibration("none", task.labels, {}, len(y), f"{_count(len(y), 'row')} of one class tell nothing")
    if config.method != "auto":
        numbers = FITS[config.method](y, probabilities)
        return Calibration(config.method, task.labels, numbers, len(y), "as configured")
    numbers_of = fold_numbers(task, y, groups, config.folds, seed)
    tried = [method for method, least in LEAST_ROWS.items() if len(y) >= least]
    if numbers_of is None or len(tried) == 1:
        reason = "all rows are of one group" if numbers_of is None else _count(len(y), "row") + " are too few"
        return Calibration("none", task.labels, {}, len(y), reason)
    chosen, losses = _choose(task, tried, (y, probabilities, groups), numbers_of)
    reason = f"simplest not clearly beaten in cross-fitted log loss, of {', '.join(tried)}"
    better = [name for name, loss in losses.items() if loss.value < losses[chosen].value - 1e-12]
    costly = [name for name in better if losses[name].score < losses[chosen].score]
    if costly:
        reason += f"; {', '.join(costly)} would cost security score"
    return Calibration(chosen, task.labels, FITS[chosen](y, probabilities), len(y), reason, losses)


def cross_fit(method: str, y: IntArray, probabilities: FloatArray, folds: IntArray) -> FloatArray:
    """Calibrated probabilities ``(n, k)``, each row's by a map fitted on the other folds."""
    mapped = np.empty_like(probabilities)
    for number in np.unique(folds):
        held = folds == number
        numbers = FITS[method](y[~held], probabilities[~held])
        mapped[held] = APPLIES[method](numbers, probabilities[held])
    return mapped


def _choose(
    task: Task, methods: list[str], rows: tuple[IntArray, FloatArray, IntArray], folds: IntArray
) -> tuple[Method, dict[str, MethodLoss]]:
    y, probabilities, groups = rows
    mapped = {method: cross_fit(method, y, probabilities, folds) for method in methods}
    lost = {method: log_losses(y, given) for method, given in mapped.items()}
    scores = {method: security_score(task, y, given.argmax(axis=1)).value for method, given in mapped.items()}
    chosen = methods[0]
    losses = {chosen: MethodLoss(float(lost[chosen].mean()), None, None, scores[chosen])}
    for method in methods[1:]:
        gain = lost[chosen] - lost[method]
        error = clustered_error(gain, groups)
        losses[method] = MethodLoss(float(lost[method].mean()), float(gain.mean()), error, scores[method])
        if gain.mean() > error and scores[method] >= scores[chosen]:
            chosen = method
    return chosen, losses  # type: ignore[return-value]


def clustered_error(values: FloatArray, groups: IntArray) -> float:
    """Standard error of a mean whose rows come in groups.

    References
    ----------
    Cameron and Miller, A practitioner's guide to cluster-robust inference, J. Hum. Resour. 50, 2015, equation 11.
    """
    _, inside = np.unique(groups, return_inverse=True)
    sums = np.bincount(inside, values - values.mean())
    count = len(sums)
    return float(np.sqrt(count / max(count - 1, 1) * np.square(sums).sum()) / len(values))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
