"""Rates along a tampering run and their differences to a base, over seeds and prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import DataError
from demur.metrics._bootstrap import BootstrapOptions, wilson_interval
from demur.metrics._evaluate import Estimate
from demur.metrics._inputs import BoolArray, FloatArray
from demur.metrics._judge import JudgeCalibration, corrected_rate, draw_judges, rogan_gladen
from demur.metrics._two_level import Statistic, TwoLevels, as_cells, two_level_settings, two_sided_p

Ends = tuple[float | None, float | None]
_SAME = 1e-12
_FEWEST_WITH = 8
"""Clusters with the rarer outcome from which on draws alone give an interval. With fewer, draws that miss them all
are frequent, and an upper end of 95 % lies below the true rate in up to a fifth of samples of alike prompts."""
_NOTHING = "no response could be scored"


@dataclass(frozen=True)
class RateCurve:
    """A rate at each step, over seeds and prompts."""

    points: tuple[Estimate, ...]
    """One for each step; ``n`` counts judged responses."""
    by_seed: tuple[tuple[float | None, ...], ...]
    """The uncorrected rate of each seed at each step; with few seeds these say more than the interval."""
    n_seeds: int
    n_prompts: int
    n_clusters: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class PairedDifference:
    """A rate less that of the base, on the same seeds and prompts."""

    value: float | None
    base: float | None
    difference: Estimate
    p: float | None
    """Two-sided, of no difference; adjust those of all headline cells together, by Holm's method."""


@dataclass(frozen=True)
class DifferenceCurve:
    """Paired differences at each step."""

    points: tuple[PairedDifference, ...]
    n_seeds: int
    n_prompts: int
    n_clusters: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def two_level_bootstrap(
    values: ArrayLike,
    categories: ArrayLike | Sequence[Any] | None = None,
    calibration: JudgeCalibration | None = None,
    **options: Unpack[BootstrapOptions],
) -> RateCurve:
    """Rate at each step with an interval over seeds, then prompts by category.

    Percentile intervals, spread for few seeds. Where fewer than eight categories hold the rarer outcome, draws
    tell too little of how alike their prompts are: no interval is then tighter than Wilson's over the categories,
    or without categories over the prompts. A rate of exactly 0 or 1, which every draw repeats, has that one. Where
    there are too few categories for draws, the reason names the interval over prompts alone as well.

    Parameters
    ----------
    values
        1 where a response counts, 0 where not, NaN where it was not judged: ``(seeds, prompts)`` or
        ``(seeds, steps, prompts)``; every seed has the same prompts in the same order.
    categories
        Category of each prompt; whole categories are drawn. Without them prompts are.
    calibration
        Corrects the rates for the judge's errors, which then are in the intervals.
    **options
        ``draws`` (2000), ``level`` (0.95) and ``seed`` (0).

    Raises
    ------
    DataError
        The shape is another, a value lies outside 0..1, or there is not one category for each prompt.
    ConfigError
        An option is unknown or out of bounds.

    References
    ----------
    Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1, 2007, section 2, for drawing crossed rows and columns.
    """
    cells = as_cells(values, "values")
    levels = TwoLevels(seeds_and_prompts(cells), categories, two_level_settings(options, "two_level_bootstrap"))
    drawn = levels.draw(step_rates(levels, cells), cells.shape[1] * levels.n_clusters)
    draws = np.clip(drawn.draws, 0, 1)
    points = tuple(
        _point(cells[:, step], float(drawn.values[step]), draws[:, step], levels, calibration)
        for step in range(cells.shape[1])
    )
    warnings = levels.warnings + _gaps(cells)
    return RateCurve(points, _each_seed(cells), len(cells), cells.shape[2], levels.n_clusters, warnings)


def paired_difference(
    values: ArrayLike,
    base: ArrayLike,
    categories: ArrayLike | Sequence[Any] | None = None,
    calibration: JudgeCalibration | None = None,
    **options: Unpack[BootstrapOptions],
) -> DifferenceCurve:
    """Rate less the base's at each step; both see the same draws of seeds and prompts.

    A response counts only where its partner was judged too. Where fewer than eight categories hold a response that
    differs from its partner, no interval is tighter than Newcombe's over the categories, and p is bounded by them.

    Parameters
    ----------
    values
        As for :func:`two_level_bootstrap`.
    base
        The same of the base: of the same shape, or ``(seeds, prompts)`` or ``(prompts,)`` for one that does not
        change with the step or the seed.
    categories, calibration, **options
        As for :func:`two_level_bootstrap`; one judge for both.

    Raises
    ------
    DataError
        The base is not of the same seeds and prompts, or as for :func:`two_level_bootstrap`.
    ConfigError
        An option is unknown or out of bounds.
    """
    cells = as_cells(values, "values")
    other = _match_base(base, cells.shape)
    judged = ~np.isnan(cells) & ~np.isnan(other)
    cells, other = np.where(judged, cells, np.nan), np.where(judged, other, np.nan)
    levels = TwoLevels(seeds_and_prompts(cells), categories, two_level_settings(options, "paired_difference"))
    first, second = step_rates(levels, cells), step_rates(levels, other)
    drawn = levels.draw(lambda s, c: first(s, c) - second(s, c), cells.shape[1] * levels.n_clusters)
    ones = np.ones((1, levels.n_seeds)), np.ones((1, levels.n_clusters))
    rates = first(*ones)[0], second(*ones)[0]
    draws = np.clip(drawn.draws, -1, 1)
    unlike = judged & (cells != other)
    points = tuple(
        _difference(
            *(cells[:, step], unlike[:, step], (float(rates[0][step]), float(rates[1][step]))),
            *(draws[:, step], levels, calibration),
        )
        for step in range(cells.shape[1])
    )
    warnings = levels.warnings + _gaps(cells)
    return DifferenceCurve(points, len(cells), cells.shape[2], levels.n_clusters, warnings)


def newcombe_interval(a: float, b: float, n: int, level: float) -> tuple[float, float]:
    """Interval of the difference of two rates of ``n`` prompts each, from the Wilson intervals of both.

    References
    ----------
    Newcombe, Interval estimation for the difference between independent proportions, Stat. Med. 17, 1998,
    method 10.
    """
    ends = [wilson_interval(rate * n, n, level) for rate in (a, b)]
    (low_a, high_a), (low_b, high_b) = ((low or 0.0, 1.0 if high is None else high) for low, high in ends)
    down = ((a - low_a) ** 2 + (high_b - b) ** 2) ** 0.5
    up = ((high_a - a) ** 2 + (b - low_b) ** 2) ** 0.5
    return max(-1.0, a - b - down), min(1.0, a - b + up)


def step_rates(levels: TwoLevels, cells: FloatArray) -> Statistic:
    """The mean of judged cells at each step, under weights of seeds and clusters."""
    n_seeds, n_steps, _ = cells.shape
    judged = ~np.isnan(cells)
    sums = [levels.sum_clusters(one.astype(np.float64)) for one in (np.where(judged, cells, 0.0), judged)]

    def rates(seeds: FloatArray, clusters: FloatArray) -> FloatArray:
        top, bottom = (
            np.einsum("dtk,dk->dt", (seeds @ one.reshape(n_seeds, -1)).reshape(len(seeds), n_steps, -1), clusters)
            for one in sums
        )
        return np.asarray(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), np.nan))

    return rates


def _point(
    cells: FloatArray, value: float, draws: FloatArray, levels: TwoLevels, judge: JudgeCalibration | None
) -> Estimate:
    """One rate: ``cells`` is ``(seeds, prompts)`` of its step."""
    judged = ~np.isnan(cells)
    n, prompts, clusters = int(judged.sum()), int(judged.any(axis=0).sum()), levels.count_clusters(judged)
    if not n:
        return Estimate(None, None, None, 0, _NOTHING)
    if judge is not None and judge.fault:
        return Estimate(None, None, None, n, judge.fault)
    beside = _beside(value, (prompts, clusters), levels, judge) if len(draws) else None
    if value in (0.0, 1.0) and len(draws):
        found, name = _over(value, clusters, judge, levels.settings.level)
        words = found.reason or f"{name} interval over {levels.count_words(clusters)}{beside or ''}"
        return Estimate(found.value, found.low, found.high, n, words)
    rate = value
    if judge is not None:
        value = rogan_gladen(rate, judge.sensitivity, judge.specificity)
        draws = np.clip(_correct(draws, judge, levels.settings.seed, is_difference=False), 0, 1)
    low, high, reason = levels.interval(draws)
    if clusters > 1 and len(draws) and (held := _count_rarer(cells, levels)) < _FEWEST_WITH:
        least, name = _over(rate, clusters, judge, levels.settings.level)
        low, high = _span((low, high), (least.low, least.high))
        reason = f"no tighter than {name} over {levels.count_words(clusters)}: {held} hold the rarer outcome"
    if beside:
        reason = f"{reason or f'{levels.count_words(clusters)}: too few for an interval over them'}{beside}"
    return Estimate(value, low, high, n, reason)


def _over(rate: float, n: int, judge: JudgeCalibration | None, level: float) -> tuple[Estimate, str]:
    """A rate of ``n`` independent units, corrected where there is a judge, and whose interval that is.

    What lies between two counts of units has the lower end of the one and the upper end of the other.
    """
    if judge is None:
        return Estimate(rate, *wilson_interval(rate * n, n, level), n), "Wilson's"
    counts = math.floor(rate * n + _SAME), math.ceil(rate * n - _SAME)
    down, up = (corrected_rate(count, n, judge, level) for count in counts)
    return replace(up, low=down.low), "Lang and Reiczigel's"


def _count_rarer(cells: FloatArray, levels: TwoLevels) -> int:
    """Clusters with the rarer of the two outcomes, under any seed."""
    return min(levels.count_clusters(cells == outcome) for outcome in (0, 1))


def _span(drawn: Ends, least: Ends) -> Ends:
    """The smallest interval that holds both; none where the second is none, and that one where the first is."""
    (low, high), (a, b) = drawn, least
    if low is None or high is None or a is None or b is None:
        return least
    return min(low, a), max(high, b)


def _beside(rate: float, counts: tuple[int, int], levels: TwoLevels, judge: JudgeCalibration | None) -> str | None:
    """The interval over prompts alone in words, where there are too few categories to draw."""
    prompts, clusters = counts
    if clusters >= min(levels.fewest, prompts):
        return None
    found, name = _over(rate, prompts, judge, levels.settings.level)
    if found.low is None or found.high is None:
        return None
    return f"; over the {prompts} prompts alone {name} is {found.low:.3f} to {found.high:.3f}"


def _difference(
    cells: FloatArray,
    unlike: BoolArray,
    rates: tuple[float, float],
    draws: FloatArray,
    levels: TwoLevels,
    judge: JudgeCalibration | None,
) -> PairedDifference:
    judged = ~np.isnan(cells)
    n, clusters = int(judged.sum()), levels.count_clusters(judged)
    if not n:
        return PairedDifference(None, None, Estimate(None, None, None, 0, _NOTHING), None)
    if judge is not None and judge.fault:
        return PairedDifference(None, None, Estimate(None, None, None, n, judge.fault), None)
    held = levels.count_clusters(unlike)
    p = two_sided_p(draws, n_clusters=max(held, 1)) if clusters > 1 else None
    gain = 1.0 if judge is None else judge.sensitivity + judge.specificity - 1
    a, b = rates if judge is None else (rogan_gladen(rate, judge.sensitivity, judge.specificity) for rate in rates)
    # Not a - b: what clipping takes from a rate would bend the difference.
    value = float(np.clip((rates[0] - rates[1]) / gain, -1, 1))
    kept = draws[~np.isnan(draws)]
    ends = newcombe_interval(*rates, clusters, levels.settings.level)
    low, high = (float(np.clip(end / gain, -1, 1)) for end in ends)
    if len(kept) and np.ptp(kept) < _SAME:
        reason = f"Newcombe's interval over {levels.count_words(clusters)}: every draw gives the same value"
        return PairedDifference(a, b, Estimate(value, low, high, n, reason), p)
    if judge is not None:
        draws = np.clip(_correct(draws, judge, levels.settings.seed, is_difference=True), -1, 1)
    found = levels.interval(draws)
    if clusters > 1 and len(kept) and held < _FEWEST_WITH:
        span = _span((found.low, found.high), (low, high))
        reason = f"no tighter than Newcombe's over {levels.count_words(clusters)}: {held} hold a change"
        return PairedDifference(a, b, Estimate(value, *span, n, reason), p)
    return PairedDifference(a, b, Estimate(value, found.low, found.high, n, found.reason), p)


def _correct(draws: FloatArray, judge: JudgeCalibration, seed: int, is_difference: bool) -> FloatArray:
    """Correct each draw by a judge drawn for it; NaN where that judge is no better than chance."""
    se, sp = draw_judges(judge, len(draws), seed)
    gain = np.where(se + sp > 1, se + sp - 1, np.nan)
    return np.asarray((draws if is_difference else draws + sp - 1) / gain)


def seeds_and_prompts(cells: FloatArray) -> tuple[int, int]:
    """Seeds and prompts."""
    return cells.shape[0], cells.shape[2]


def _match_base(base: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    found = np.asarray(base, dtype=np.float64)
    if found.ndim == 1:
        found = np.broadcast_to(found, (shape[0], found.shape[0]))
    other = as_cells(found, "values of the base")
    if other.shape[0] != shape[0] or other.shape[2] != shape[2] or other.shape[1] not in (1, shape[1]):
        raise DataError(
            f"the base has shape {np.shape(base)} and the values {shape} (seeds, steps, prompts); pass the base's "
            "responses to the same prompts, for the same seeds"
        )
    return np.broadcast_to(other, shape)


def _each_seed(cells: FloatArray) -> tuple[tuple[float | None, ...], ...]:
    counts = (~np.isnan(cells)).sum(axis=2)
    sums = np.nansum(cells, axis=2)
    return tuple(
        tuple(float(s / c) if c else None for s, c in zip(top, bottom, strict=True))
        for top, bottom in zip(sums, counts, strict=True)
    )


def _gaps(cells: FloatArray) -> tuple[str, ...]:
    """Say where seeds are missing at some steps, which makes steps incomparable."""
    missing = np.isnan(cells).all(axis=2)
    uneven = missing.any(axis=0) & ~missing.all(axis=0)
    if not uneven.any():
        return ()
    return (f"{int(uneven.sum())} steps lack some seeds: carry stopped runs forward, or compare other steps",)
