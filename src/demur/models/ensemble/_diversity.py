"""How different the members of an ensemble are: where all fail together, joining them cannot help."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.metrics import Bootstrap, bootstrap, estimate_ratio, log_losses, percentile_interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
PAIRWISE = ("disagreement", "double_fault", "q", "correlation", "kappa")


def measure_diversity(
    names: Sequence[str],
    y: IntArray,
    probabilities: FloatArray,
    groups: IntArray,
    intervals: Bootstrap | None = None,
) -> dict[str, Any]:
    """Compare where the members are right and wrong, on rows that none of them learned from.

    Of each pair: ``disagreement``, the share of rows where one alone is right; ``double_fault``, where both are
    wrong; Yule's ``q`` and the ``correlation`` of being right, and ``kappa``, each 0 for members that err
    independently and 1 for members that err alike. Of all together: their means over the pairs, and
    ``kappa_of_all``, the interrater agreement. Intervals come from draws of whole groups; what is undefined, as
    ``q`` where nobody errs, is null.

    Parameters
    ----------
    names
        The members' names, ``(m,)``.
    y, probabilities, groups
        True classes ``(n,)``, the members' probabilities ``(m, n, k)``, group numbers ``0..g-1`` ``(n,)``.
    intervals
        How intervals are drawn.

    References
    ----------
    Kuncheva and Whitaker, Measures of diversity in classifier ensembles, Machine Learning 51, 2003, sections 2.1
    and 2.2.
    """
    intervals = intervals or Bootstrap()
    right = probabilities.argmax(axis=2) == y  # (m, n)
    pairs = list(combinations(range(len(names)), 2))
    count = int(groups.max()) + 1
    cells = np.stack([_pair_cells(right[a], right[b], groups, count) for a, b in pairs], axis=1)  # (g, pairs, 4)
    votes = _vote_sums(right, groups, count)  # (g, 3)

    def statistic(weights: FloatArray) -> dict[str, FloatArray]:
        drawn = np.tensordot(weights, cells, axes=1)  # (d, pairs, 4)
        found: dict[str, FloatArray] = {}
        for name, values in pair_figures(drawn).items():
            found |= {f"{name} {number}": values[:, number] for number in range(len(pairs))}
            found[name] = values.mean(axis=1)
        found["kappa_of_all"] = interrater_kappa(weights @ votes, len(names))
        return found

    values = statistic(np.ones((1, count)))
    draws = bootstrap(statistic, count, intervals)

    def told(key: str) -> dict[str, float | None]:
        value = float(values[key][0])
        low, high, _ = percentile_interval(draws.get(key, np.empty(0)), intervals.level, count)
        return {"value": None if np.isnan(value) else value, "low": low, "high": high}

    return {
        "n": len(y),
        "groups": count,
        "members": [
            _describe(name, y, given, groups, intervals) for name, given in zip(names, probabilities, strict=True)
        ],
        "pairs": [
            {"a": names[a], "b": names[b], **{name: told(f"{name} {number}") for name in PAIRWISE}}
            for number, (a, b) in enumerate(pairs)
        ],
        "mean": {name: told(name) for name in PAIRWISE},
        "kappa_of_all": told("kappa_of_all"),
    }


def pair_figures(cells: FloatArray) -> dict[str, FloatArray]:
    """The pairwise figures of counts ``(..., 4)``: both right, the first alone, the second alone, both wrong."""
    both, first, second, none = np.moveaxis(cells, -1, 0)
    total = cells.sum(axis=-1)
    cross = both * none - first * second
    spread = np.sqrt((both + first) * (second + none) * (both + second) * (first + none))
    chance = (both + first) * (first + none) + (both + second) * (second + none)
    return {
        "disagreement": _ratio(first + second, total),
        "double_fault": _ratio(none, total),
        "q": _ratio(cross, both * none + first * second),
        "correlation": _ratio(cross, spread),
        "kappa": _ratio(2 * cross, chance),
    }


def interrater_kappa(sums: FloatArray, members: int) -> FloatArray:
    """Agreement of all members beyond chance, of sums ``(..., 3)``: rows, right answers, ``Σ r (m - r)``."""
    rows, right, split = np.moveaxis(sums, -1, 0)
    share = _ratio(right, rows * members)
    return 1 - _ratio(split, rows * members * (members - 1) * share * (1 - share))


def _pair_cells(a: NDArray[np.bool_], b: NDArray[np.bool_], groups: IntArray, count: int) -> FloatArray:
    cell = 2 * (~a).astype(np.int64) + (~b).astype(np.int64)
    return np.bincount(groups * 4 + cell, minlength=4 * count).reshape(count, 4).astype(np.float64)


def _vote_sums(right: NDArray[np.bool_], groups: IntArray, count: int) -> FloatArray:
    votes = right.sum(axis=0)
    columns = (np.ones(len(groups)), votes, votes * (len(right) - votes))
    return np.stack([np.bincount(groups, column, minlength=count) for column in columns], axis=1)


def _describe(
    name: str, y: IntArray, probabilities: FloatArray, groups: IntArray, intervals: Bootstrap
) -> dict[str, Any]:
    ones = np.ones(len(y))
    right = (probabilities.argmax(axis=1) == y).astype(np.float64)
    figures = {"accuracy": right, "log_loss": log_losses(y, probabilities)}
    told: dict[str, Any] = {"name": name}
    for figure, values in figures.items():
        found = estimate_ratio(values, ones, groups, intervals)
        told[figure] = {"value": found.value, "low": found.low, "high": found.high}
    return told


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.where(whole == 0, np.nan, part / np.where(whole == 0, 1, whole))
