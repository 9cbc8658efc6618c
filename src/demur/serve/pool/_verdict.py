"""What a model says of one item on one task, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demur.models import Predictions


@dataclass(frozen=True, slots=True)
class Verdict:
    """A label, how sure it is, and what the operating points say of it."""

    label: str
    probabilities: dict[str, float]
    threat_score: float
    flagged: dict[str, bool]
    """Operating point to whether the threat score is above its threshold; empty where the model has none."""
    unsure: bool | None
    """Whether one label is not enough; None where the model has no abstention."""


def thresholds_of(predictions: Predictions) -> dict[str, float]:
    """Operating point to threshold, of those points that have one."""
    points = predictions.operating.points if predictions.operating is not None else ()
    return {point.name: point.threshold.value for point in points if point.threshold.value is not None}


def to_verdicts(predictions: Predictions) -> list[Verdict]:
    """One verdict a row."""
    labels = predictions.task.labels
    flags = {name: predictions.flagged(name).tolist() for name in thresholds_of(predictions)}
    unsure = predictions.unsure.tolist() if predictions.conformal is not None else [None] * len(predictions)
    rows = zip(
        predictions.labels,
        predictions.probabilities.tolist(),
        predictions.threat_score.tolist(),
        unsure,
        strict=True,
    )
    return [
        Verdict(
            label,
            dict(zip(labels, values, strict=True)),
            score,
            {name: listed[row] for name, listed in flags.items()},
            doubt,
        )
        for row, (label, values, score, doubt) in enumerate(rows)
    ]
