"""Operating points: thresholds on the threat score for given false-positive rates, with how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import ArtifactError, UsageError, near_match
from demur.metrics import Bootstrap, Estimate, Ranking, bootstrap, percentile_interval
from demur.tasks import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
RATES = (0.01, 0.001)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold for one false-positive rate, and what it does."""

    name: str
    rate: float
    """The false-positive rate asked for."""
    threshold: Estimate
    """A row is flagged whose threat score is above ``threshold.value``; None where there can be none."""
    false_positive_rate: Estimate
    """Of the rows that chose the threshold; its interval is that of the rows to come."""
    recall: Estimate
    negatives: int
    positives: int
    warning: str | None = None


@dataclass(frozen=True)
class OperatingPoints:
    """The thresholds of one classifier."""

    threat: tuple[int, ...]
    """Class ids whose probabilities sum to the threat score."""
    points: tuple[OperatingPoint, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the points: ``fpr_1`` is a false-positive rate of 1 %."""
        return tuple(point.name for point in self.points)

    def find(self, name: str) -> OperatingPoint:
        """The point of that name.

        Raises
        ------
        UsageError
            There is none of that name, or the rows were too few for its threshold.
        """
        found = next((point for point in self.points if point.name == name), None)
        if found is None:
            raise UsageError(
                f"the model has no operating point '{name}' (it has: {', '.join(self.names) or 'none'})"
                f"{near_match(name, self.names)}; ask for its rate when the model is made ready"
            )
        if found.threshold.value is None:
            raise UsageError(f"the operating point '{name}' has no threshold: {found.threshold.reason}")
        return found

    def flag(self, probabilities: FloatArray, name: str) -> NDArray[np.bool_]:
        """Which rows are flagged at a point, ``(n,)``.

        Raises
        ------
        UsageError
            As for :meth:`find`.
        """
        threshold = self.find(name).threshold.value
        assert threshold is not None
        return np.asarray(threat_scores(probabilities, self.threat) > threshold)

    def to_json(self) -> dict[str, Any]:
        """As plain values; :meth:`from_json` gives the very same thresholds."""
        return {"threat": list(self.threat), "points": [asdict(point) for point in self.points]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OperatingPoints:
        """Read back what :meth:`to_json` gave.

        Raises
        ------
        ArtifactError
            It is incomplete.
        """
        try:
            points = [
                OperatingPoint(
                    **{
                        **point,
                        **{key: Estimate(**point[key]) for key in ("threshold", "false_positive_rate", "recall")},
                    }
                )
                for point in values["points"]
            ]
            return cls(tuple(values["threat"]), tuple(points))
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"the operating points are damaged ({type(error).__name__}: {error}); "
                "restore the file or make the model ready again"
            ) from None


def threat_scores(probabilities: FloatArray, threat: Sequence[int]) -> FloatArray:
    """Sum of the threat labels' probabilities, ``(n,)``: what a threshold stands on."""
    scores: FloatArray = probabilities[:, list(threat)].sum(axis=1)
    return scores


def point_name(rate: float) -> str:
    """``fpr_1`` for 0.01, ``fpr_0.1`` for 0.001."""
    return f"fpr_{100 * rate:.6g}"


def fit_operating_points(
    task: Task,
    y: IntArray,
    probabilities: FloatArray,
    groups: IntArray,
    rates: Sequence[float] = RATES,
    intervals: Bootstrap | None = None,
) -> OperatingPoints:
    """Find a threshold for each false-positive rate.

    Of ``m`` rows that are no threat, those above the threshold are fewer than ``floor(rate * (m + 1))``: then the
    next such row is a false alarm with a chance of at most ``rate``, whatever the scores, if it is drawn as these
    were. Fewer than ``1 / rate - 1`` rows allow no threshold.

    Intervals come from draws of whole groups. Each draw chooses its own threshold; its recall is that of the draw,
    its false-positive rate that of all rows, which is to the draw what the rows to come are to these.

    Parameters
    ----------
    task
        Gives the threat labels; all other rows count as no threat.
    y, probabilities, groups
        True classes ``(n,)``, calibrated probabilities ``(n, k)`` and group numbers ``(n,)`` of rows that neither
        the classifier nor its calibration learned from.
    rates
        False-positive rates, each between 0 and 1.
    intervals
        How intervals are drawn.

    Raises
    ------
    UsageError
        A rate is not between 0 and 1.

    References
    ----------
    Tong, Feng and Li, Neyman-Pearson classification algorithms and NP receiver operating characteristics, Science
    Advances 4, 2018, on thresholds from order statistics; Efron and Tibshirani, An introduction to the bootstrap,
    1993, section 4, on the plug-in principle.
    """
    for rate in rates:
        if not 0 < rate < 1:
            raise UsageError(f"the false-positive rate {rate:g} is not between 0 and 1; 0.01 is one in a hundred")
    threat = task.label_ids(task.threat_labels)
    positive = np.isin(y, threat)
    scores = threat_scores(probabilities, threat)
    inside = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    curve = _Curve(positive, scores, inside)
    points = [_fit_point(curve, rate, intervals or Bootstrap()) for rate in rates]
    return OperatingPoints(threat, tuple(points))


class _Curve:
    """Rows by falling score, and where a threshold falls under weights of their groups."""

    def __init__(self, positive: NDArray[np.bool_], scores: FloatArray, groups: IntArray) -> None:
        self.ranking = Ranking(positive, scores)
        self.groups, self.count = groups[self.ranking.order], int(groups.max()) + 1
        levels = np.unique(scores)[::-1]
        # Half-way between the last level above and the next, so that rounding flips no row.
        self.thresholds = np.append(levels[0], (levels[:-1] + levels[1:]) / 2)
        self.negatives, self.positives = int((~positive).sum()), int(positive.sum())
        self.negative_groups = len(np.unique(groups[~positive]))
        whole = self.ranking.curve(np.ones((1, len(scores))))
        self.false, self.hits = whole.false[0], whole.hits[0]

    def cuts(self, weights: FloatArray, rate: float) -> tuple[IntArray, FloatArray]:
        """How many score levels lie above the threshold ``(d,)``, and the recall there, ``(d,)``."""
        drawn = self.ranking.curve(weights[:, self.groups])
        # The slack undoes the rounding of the product.
        allowed = np.floor(rate * (drawn.negatives + 1) * (1 + 1e-12))
        above = (drawn.false < allowed[:, None]).sum(axis=1)
        hits = np.take_along_axis(drawn.hits, np.maximum(above - 1, 0)[:, None], axis=1)[:, 0]
        positives = np.where(drawn.positives == 0, np.nan, drawn.positives)
        return above, np.where(above > 0, hits, 0.0) / positives

    def false_rate(self, above: IntArray) -> FloatArray:
        """Share of all the rows that are no threat above a threshold, ``(d,)``."""
        return np.append(0.0, self.false)[above] / self.negatives


def _fit_point(curve: _Curve, rate: float, intervals: Bootstrap) -> OperatingPoint:
    name, wanted = point_name(rate), math.ceil(1 / rate - 1e-9) - 1
    if curve.negatives < wanted or not curve.negatives:
        reason = (
            f"a false-positive rate of {100 * rate:g} % takes at least {max(wanted, 1)} rows that are no threat, "
            f"found {curve.negatives}"
        )
        none = Estimate(None, None, None, curve.negatives, reason)
        recall = Estimate(None, None, None, curve.positives, reason)
        return OperatingPoint(name, rate, none, none, recall, curve.negatives, curve.positives)
    (above,), (reached,) = curve.cuts(np.ones((1, curve.count)), rate)

    def statistic(weights: FloatArray) -> dict[str, FloatArray]:
        cuts, recalls = curve.cuts(weights, rate)
        return {"threshold": curve.thresholds[cuts], "false": curve.false_rate(cuts), "recall": recalls}

    draws = bootstrap(statistic, curve.count, intervals, rows=len(curve.groups))

    def estimate(key: str, value: float, n: int) -> Estimate:
        low, high, reason = percentile_interval(draws.get(key, np.empty(0)), intervals.level, curve.count)
        return Estimate(value, low, high, n, reason)

    return OperatingPoint(
        name,
        rate,
        estimate("threshold", float(curve.thresholds[above]), curve.negatives),
        estimate("false", float(curve.false_rate(np.array([above]))[0]), curve.negatives),
        estimate("recall", float(reached), curve.positives)
        if curve.positives
        else Estimate(None, None, None, 0, "no row is truly a threat"),
        curve.negatives,
        curve.positives,
        _warn(curve, int(above), wanted),
    )


def _warn(curve: _Curve, above: int, wanted: int) -> str | None:
    if above == 0:
        return "some row that is no threat has the highest score of all, so nothing is flagged at this rate"
    if curve.negative_groups < wanted:
        return (
            f"the {curve.negatives} rows that are no threat are of {curve.negative_groups} groups, fewer than "
            f"{wanted}; rows of a group resemble each other, so go by the interval"
        )
    return None
