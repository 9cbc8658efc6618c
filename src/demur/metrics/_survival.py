"""Survival of prompts: the share still refused at each budget, from interval-censored first breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics._bootstrap import BootstrapOptions, wilson_interval
from demur.metrics._breaks import FirstBreaks, count_breaks
from demur.metrics._evaluate import Estimate
from demur.metrics._inputs import BoolArray, FloatArray
from demur.metrics._two_level import TwoLevels, two_level_settings

_ROUNDS = 5000
_TOLERANCE = 1e-7


@dataclass(frozen=True)
class SurvivalCurve:
    """Share of prompts that have not broken by each budget."""

    budgets: tuple[float, ...]
    points: tuple[Estimate, ...]
    """``n`` counts judged pairs of seed and prompt."""
    median: float | None
    """Smallest budget by which half had broken; None where half still hold."""
    n: int
    n_broken: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def survival(
    breaks: FirstBreaks,
    categories: ArrayLike | Sequence[Any] | None = None,
    **options: Unpack[BootstrapOptions],
) -> SurvivalCurve:
    """Share of prompts still holding at each budget, with pointwise bands over seeds and prompts.

    Turnbull's estimate: the likeliest distribution of first breaks, whatever its shape. Where no checkpoint went
    unjudged it is Kaplan and Meier's at the checkpoints. What is only known to lie between two checkpoints is
    dated at the later one, so that the curve never falls too early. A share of exactly 0 or 1 has Wilson's
    interval over categories, without them over prompts.

    Parameters
    ----------
    breaks
        From :func:`first_breaks`; budgets may as well be steps.
    categories
        Category of each prompt; whole categories are drawn.
    **options
        ``draws`` (2000), ``level`` (0.95) and ``seed`` (0).

    Raises
    ------
    DataError
        There is not one category for each prompt.
    ConfigError
        An option is unknown or out of bounds.

    References
    ----------
    Turnbull, The empirical distribution function with arbitrarily grouped, censored and truncated data, J. R.
    Statist. Soc. B 38, 1976, section 3; Kaplan and Meier, Nonparametric estimation from incomplete observations,
    J. Am. Stat. Assoc. 53, 1958.
    """
    levels = TwoLevels(breaks.shape, categories, two_level_settings(options, "survival"))
    if not breaks.n:
        return SurvivalCurve((), (), None, 0, 0, (*levels.warnings, "no response could be scored"))
    counted = count_breaks(breaks, levels)
    budgets = _budgets(counted.low, counted.high)
    lasts, holds = _innermost(counted.low, counted.high)
    # Share surviving each budget: all mass whose interval ends later, (m, t).
    later = (lasts[:, None] > budgets[None, :]).astype(np.float64)
    drawn = levels.draw(lambda s, c: turnbull(counted.weigh(s, c), holds) @ later, 4 * len(lasts))
    clusters = levels.count_clusters(breaks.judged)
    draws = np.clip(drawn.draws, 0, 1)
    values = np.clip(drawn.values, 0, 1)
    points = tuple(
        _point(float(value), draws[:, place], levels, (breaks.n, clusters)) for place, value in enumerate(values)
    )
    broken = np.flatnonzero(values <= 0.5)
    median = float(budgets[broken[0]]) if len(broken) else None
    return SurvivalCurve(tuple(budgets.tolist()), points, median, breaks.n, breaks.n_broken, levels.warnings)


def turnbull(weights: FloatArray, holds: BoolArray) -> FloatArray:
    """Mass of each innermost interval, by self-consistency, for many weightings at once.

    Parameters
    ----------
    weights
        How often each kind of interval came, ``(d, u)``.
    holds
        Whether the kind's interval holds the innermost interval, ``(u, m)``.

    Returns
    -------
    ndarray, shape (d, m)
        Rows sum to 1; NaN where nothing was drawn.
    """
    inside = holds.astype(np.float64)
    total = weights.sum(axis=1, keepdims=True)
    shares = weights / np.where(total > 0, total, np.nan)
    mass = np.full((len(weights), inside.shape[1]), 1 / inside.shape[1])
    active = np.arange(len(weights))
    for _ in range(_ROUNDS):
        held = mass[active] @ inside.T
        ratio = np.where(held > 0, shares[active] / np.where(held > 0, held, 1), 0)
        new = mass[active] * (ratio @ inside)
        moved = np.abs(new - mass[active]).max(axis=1)
        mass[active] = new
        active = active[moved > _TOLERANCE]
        if not len(active):
            break
    return mass


def _innermost(low: FloatArray, high: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Upper ends ``(m,)`` of the intervals that may hold mass, and which kinds hold them, ``(u, m)``.

    They run from a lower end to the next upper end with no other end between.
    """
    # What was broken untampered has the interval {0}: it lies below every other.
    lows = np.where(high == 0, -1.0, low)
    starts, found = np.unique(lows), []
    for start in starts:
        ends = high[high > start]
        end = ends.min()
        if not ((starts > start) & (starts < end)).any():
            found.append((start, end))
    firsts, lasts = (np.array(part) for part in zip(*found, strict=True))
    return lasts, (lows[:, None] <= firsts) & (high[:, None] >= lasts)


def _budgets(low: FloatArray, high: FloatArray) -> FloatArray:
    ends = np.concatenate([[0.0], low, high])
    return np.unique(ends[np.isfinite(ends)])


def _point(value: float, draws: FloatArray, levels: TwoLevels, counts: tuple[int, int]) -> Estimate:
    n, clusters = counts
    value = min(1.0, max(0.0, value))
    if min(value, 1 - value) < 1e-9 and len(draws):
        value = float(round(value))
        low, high = wilson_interval(value * clusters, clusters, levels.settings.level)
        return Estimate(value, low, high, n, f"Wilson's interval over {levels.count_words(clusters)}")
    low, high, reason = levels.interval(draws)
    return Estimate(value, low, high, n, reason)
