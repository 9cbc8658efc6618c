"""What a model's thresholds do on rows that chose neither them nor the model.

The promises of thresholds are for a model that was fixed before their rows were looked at. Where those rows also
chose the winner among several models, it is in part the one they flatter, and only other rows show what it does.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from demur.errors import ArtifactError
from demur.metrics import Bootstrap, Estimate, estimate_ratio
from demur.models._conformal import Conformal
from demur.models._operating import OperatingPoint, OperatingPoints, threat_scores

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
SETS = ("coverage", "unsure", "wrong_when_sure")


class HasThresholds(Protocol):
    """A classifier, or its thresholds alone."""

    @property
    def operating(self) -> OperatingPoints | None:
        """Thresholds on the threat score."""

    @property
    def conformal(self) -> Conformal | None:
        """Thresholds of conformity."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a saved classifier, which are read without the classifier."""

    operating: OperatingPoints | None = None
    conformal: Conformal | None = None

    @classmethod
    def load(cls, folder: Path) -> Thresholds:
        """Read them from the folder of a saved classifier; what it does not have is None.

        Raises
        ------
        ArtifactError
            A file is damaged.
        """

        def read(name: str) -> Any:
            path = folder / f"{name}.json"
            try:
                return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            except ValueError:
                raise ArtifactError(f"{path} is no JSON; restore it or train again") from None

        operating, conformal = read("operating"), read("conformal")
        return cls(
            None if operating is None else OperatingPoints.from_json(operating),
            None if conformal is None else Conformal.from_json(conformal),
        )


def check_ready(
    thresholds: HasThresholds,
    y: IntArray,
    probabilities: FloatArray,
    groups: IntArray,
    intervals: Bootstrap | None = None,
) -> dict[str, Any]:
    """Measure operating points and abstention as they stand, on labelled rows that chose nothing.

    False-positive rate and recall count each row once. Coverage, the share unsure and the share wrong of the sure
    count what the promise counts: each group once, or each row. Intervals draw whole groups.

    Parameters
    ----------
    thresholds
        A classifier that was made ready, or :class:`Thresholds` of a saved one.
    y, probabilities, groups
        True classes ``(n,)``, calibrated probabilities ``(n, k)`` and group numbers ``(n,)``.
    intervals
        How intervals are drawn.

    Returns
    -------
    dict
        ``rows``, ``groups``; ``operating``: for each point its name, ``false_positive_rate`` and ``recall``;
        ``conformal``: ``coverage``, ``unsure``, ``wrong_when_sure`` and, where the promise is for each true class,
        ``coverage_by_class``; None where the model has no abstention.
    """
    intervals = intervals or Bootstrap()
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    operating, conformal = thresholds.operating, thresholds.conformal
    rows = (y, probabilities, groups)
    return {
        "rows": len(y),
        "groups": len(np.unique(groups)),
        "operating": [_check_point(operating, point, rows, intervals) for point in operating.points]
        if operating is not None
        else [],
        "conformal": _check_sets(conformal, rows, intervals) if conformal is not None else None,
    }


def estimate_sets(
    held: tuple[BoolArray, BoolArray, BoolArray], groups: IntArray, unit: str, intervals: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Coverage, share unsure, and share wrong of the sure.

    Parameters
    ----------
    held
        Whether a row's set holds its label, whether the row is unsure, whether its likeliest label is wrong.
    groups
        Group numbers ``0..g-1``, ``(n,)``.
    unit
        ``group``: each group counts once; ``row``: each row does.
    intervals
        How intervals are drawn.
    """
    covered, unsure, wrong = (np.asarray(part, dtype=np.float64) for part in held)
    weights = _weights(groups, unit)
    sure = weights * (1 - unsure)
    ratios = ((weights * covered, weights), (weights * unsure, weights), (sure * wrong, sure))
    return {
        name: asdict(estimate_ratio(top, bottom, groups, intervals))
        for name, (top, bottom) in zip(SETS, ratios, strict=True)
    }


def _weights(groups: IntArray, unit: str) -> FloatArray:
    if unit == "row":
        return np.ones(len(groups))
    return np.asarray(1 / np.bincount(groups)[groups], dtype=np.float64)


def _check_point(
    points: OperatingPoints,
    point: OperatingPoint,
    rows: tuple[IntArray, FloatArray, IntArray],
    intervals: Bootstrap,
) -> dict[str, Any]:
    y, probabilities, groups = rows
    positive = np.isin(y, points.threat)
    sides = {"false_positive_rate": ~positive, "recall": positive}
    found: dict[str, Any] = {"name": point.name, "rate": point.rate}
    found |= {"negatives": int((~positive).sum()), "positives": int(positive.sum())}
    if point.threshold.value is None:
        none = asdict(Estimate(None, None, None, 0, point.threshold.reason))
        return found | dict.fromkeys(sides, none)
    flagged = threat_scores(probabilities, points.threat) > point.threshold.value
    return found | {
        name: asdict(
            estimate_ratio((flagged & side).astype(np.float64), side.astype(np.float64), groups, intervals)
        )
        for name, side in sides.items()
    }


def _check_sets(
    conformal: Conformal, rows: tuple[IntArray, FloatArray, IntArray], intervals: Bootstrap
) -> dict[str, Any]:
    y, probabilities, groups = rows
    covered = conformal.sets(probabilities)[np.arange(len(y)), y]
    wrong = probabilities.argmax(axis=1) != y
    unit = conformal.config.unit
    found: dict[str, Any] = dict(
        estimate_sets((covered, conformal.unsure(probabilities), wrong), groups, unit, intervals)
    )
    if conformal.config.by_class:
        found["coverage_by_class"] = {
            label: _class_coverage(covered, y == number, groups, (unit, intervals))
            for number, label in enumerate(conformal.labels)
        }
    return found


def _class_coverage(
    covered: BoolArray, own: BoolArray, groups: IntArray, how: tuple[str, Bootstrap]
) -> dict[str, Any]:
    """Coverage of the rows of one class; a group counts once by those of its rows that are of the class."""
    unit, intervals = how
    if not own.any():
        return asdict(Estimate(None, None, None, 0, "no row of this class"))
    inside = np.unique(groups[own], return_inverse=True)[1].astype(np.int64)
    weights = _weights(inside, unit)
    return asdict(estimate_ratio(weights * covered[own], weights, inside, intervals))
