"""Capital of a bettor against a stated mean, and the confidence sequence that follows: pure formulas over counts.

Whoever bets on observations at odds that are fair under a hypothesis has, if it is true, no way to grow rich: the
chance that the capital ever reaches ``1/alpha`` is at most ``alpha`` (Ville's inequality). So the capital is an
e-value that may be looked at after every observation, its reciprocal an always-valid p-value, and the means it has
not ruled out are a confidence sequence. Nothing is assumed but bounds on the values and that, whatever came
before, the next value has the stated mean: no normal approximation, no known variance, no fixed sample size.

The strategies are mixed: part of the capital bets each of :data:`FRACTIONS`, and what bet well dominates. The
capital then depends only on how often each value was seen, never on their order.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from demur.metrics._inputs import BoolArray, FloatArray

Side = Literal["two-sided", "greater", "less"]

FRACTIONS: FloatArray = np.geomspace(1 / 256, 0.9, 24)
"""Shares of the capital that are put on the next value; the best is about ``mean * difference / variance``.

From 1/256 (differences of a few thousandths) to 0.9 (rare events), evenly on the log scale: not knowing the best
costs a factor of about 10 in capital, as much as a tuned normal mixture's.
"""
_LOG_SHARE = -math.log(len(FRACTIONS))
_TINY = 1e-12
_TOLERANCE, _PARTS = 1e-7, 9


def log_factors(points: FloatArray, mean: float) -> FloatArray:
    """What each value multiplies the capital of each strategy by, as logarithms ``(v, f)``.

    A strategy keeps ``1 - fraction`` and puts ``fraction`` on the value at odds ``1/mean``.

    Parameters
    ----------
    points
        Values between 0 and 1, ``(v,)``.
    mean
        The hypothesis, above 0 and at most 1; the bet is that the true mean is higher.
    """
    return np.log1p(FRACTIONS * (points[:, None] / mean - 1))


def mix_capital(logs: FloatArray) -> FloatArray:
    """Logarithm of the capital of the equal mixture of strategies ``(..., f)`` to ``(...)``."""
    largest = logs.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(logs - largest).sum(axis=-1)) + largest[..., 0] + _LOG_SHARE)


def log_capital(points: FloatArray, counts: FloatArray, mean: float, side: Side = "two-sided") -> FloatArray:
    """Logarithm of the capital against ``mean`` after values that were seen so often: an e-value.

    For both sides it is the larger of the two capitals, each started with one half.

    Parameters
    ----------
    points
        Different values between 0 and 1, ``(v,)``.
    counts
        How often each was seen, ``(..., v)``.
    mean
        The hypothesis, strictly between 0 and 1.
    side
        What is bet on: that the true mean is ``greater``, ``less``, or either.

    References
    ----------
    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, J. R. Statist. Soc. B 86(1),
    2024, section 4: the capital process, and theorem 3 for its hedged form, whose larger half is taken here so
    that what is not ruled out is an interval. Ryu and Bhatt, On confidence sequences for bounded random processes
    via universal gambling strategies, IEEE Trans. Inf. Theory, 2024, for mixtures of strategies as bets in a horse
    race with two horses at odds ``1/mean`` and ``1/(1 - mean)``.
    """
    up = mix_capital(counts @ log_factors(points, mean)) if side != "less" else None
    down = mix_capital(counts @ log_factors(1 - points, 1 - mean)) if side != "greater" else None
    return combine_sides(up, down)


def combine_sides(up: FloatArray | None, down: FloatArray | None) -> FloatArray:
    """The one capital there is, or the larger of two that each began with one half."""
    if up is None or down is None:
        found = down if up is None else up
        assert found is not None
        return found
    return np.maximum(up, down) - math.log(2)


def capital_bounds(
    points: FloatArray,
    counts: FloatArray,
    level: float,
    side: Side = "two-sided",
    within: tuple[float, float] = (0.0, 1.0),
) -> tuple[float, float]:
    """Means between 0 and 1 whose bettor has not reached ``1/(1 - level)``: a confidence sequence's interval now.

    The capital of a bet on more falls as the mean rises, so what is not ruled out is an interval and its ends are
    found by division, on the safe side. One-sided, the other end is that of ``within``.

    Parameters
    ----------
    points, side
        As for :func:`log_capital`.
    counts
        How often each was seen, ``(v,)``.
    level
        Chance that every interval, at whatever time, holds the mean.
    within
        Bounds known before; those returned are never wider.
    """
    need = -math.log1p(-level) + (math.log(2) if side == "two-sided" else 0.0)
    low, high = within
    if not counts.sum():
        return low, high
    if side != "less":
        low = _lower_bound(points, counts, need, low)
    if side != "greater":
        high = 1 - _lower_bound(1 - points, counts, need, 1 - high)
    return low, high


def _lower_bound(points: FloatArray, counts: FloatArray, need: float, known: float) -> float:
    """The largest mean found ruled out as too low, at least ``known``."""

    def are_ruled_out(means: FloatArray) -> BoolArray:
        logs = np.log1p(FRACTIONS * (points[:, None] / means[:, None, None] - 1))  # (mean, value, fraction)
        return np.asarray(mix_capital(np.einsum("v,mvf->mf", counts, logs)) >= need)

    out, kept = max(known, _TINY), float(counts @ points / counts.sum())  # at the sample mean nobody has won
    if kept <= out or not are_ruled_out(np.asarray([out]))[0]:
        return known
    while kept - out > _TOLERANCE:
        means = np.linspace(out, kept, _PARTS + 1)
        last = int(np.count_nonzero(are_ruled_out(means[1:-1])))  # they are the first ones
        out, kept = float(means[last]), float(means[last + 1])
    return out
