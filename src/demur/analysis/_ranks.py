"""Models ranked over folds or data sets: Friedman's test, Nemenyi's critical difference, and cliques."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial, pow

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEW_BLOCKS = 10
"""With fewer folds than these, the tests on ranks see only large and steady differences (Demšar 2006)."""


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of models over blocks (1 is best), and which of them the data tells apart."""

    models: tuple[str, ...]
    """Best first."""
    mean_ranks: tuple[float, ...]
    blocks: int
    statistic: float
    """Friedman's chi-square with the correction for ties."""
    p: float
    f_statistic: float | None
    """Iman and Davenport's F of it; None where every block ranks alike."""
    f_p: float
    """Of the F; where every block ranks alike, the exact chance that they all would."""
    critical_difference: float
    cliques: tuple[tuple[str, ...], ...]
    """Longest runs of models whose mean ranks differ by less than the critical difference."""


def rank_models(names: Sequence[str], scores: ArrayLike, alpha: float = 0.05) -> Ranks:
    """Rank models over blocks and test whether the ranks differ.

    Parameters
    ----------
    names
        The ``k`` models, at least two.
    scores
        ``(blocks, k)``, higher is better, no NaN; at least two blocks.
    alpha
        Level of the critical difference.

    References
    ----------
    Friedman, J. Am. Stat. Assoc. 32, 1937; Iman and Davenport, Commun. Stat. A9, 1980; Nemenyi, thesis,
    Princeton, 1963; Demšar, Statistical comparisons of classifiers over multiple data sets, J. Mach. Learn.
    Res. 7, 2006, sections 3.2.2 and 3.2.4.
    """
    from scipy import stats

    values = np.asarray(scores, dtype=np.float64)
    blocks, k = values.shape
    ranks = stats.rankdata(-np.round(values, 12), axis=1)  # (blocks, k)
    means = ranks.mean(axis=0)
    statistic = _friedman(ranks)
    room = blocks * (k - 1) - statistic
    f = (blocks - 1) * statistic / room if room > 1e-9 else None
    f_p = float(stats.f.sf(f, k - 1, (k - 1) * (blocks - 1))) if f is not None else _chance_alike(ranks)
    order = np.argsort(means, kind="stable")
    sorted_names, sorted_means = [names[place] for place in order], means[order]
    difference = critical_difference(k, blocks, alpha)
    return Ranks(
        models=tuple(sorted_names),
        mean_ranks=tuple(float(mean) for mean in sorted_means),
        blocks=blocks,
        statistic=statistic,
        p=float(stats.chi2.sf(statistic, k - 1)),
        f_statistic=f,
        f_p=f_p,
        critical_difference=difference,
        cliques=tuple(
            tuple(sorted_names[first : last + 1]) for first, last in find_cliques(sorted_means, difference)
        ),
    )


def _friedman(ranks: NDArray[np.float64]) -> float:
    blocks, k = ranks.shape
    sums = ranks.sum(axis=0)
    spread = float((sums**2).sum()) * 12 / (blocks * k * (k + 1)) - 3 * blocks * (k + 1)
    ties = sum(
        float((counts**3 - counts).sum())
        for counts in (np.unique(block, return_counts=True)[1].astype(np.float64) for block in ranks)
    )
    correction = 1 - ties / (blocks * k * (k * k - 1))
    return max(spread / correction, 0.0) if correction > 1e-12 else 0.0


def _chance_alike(ranks: NDArray[np.float64]) -> float:
    """The chance that blocks with these ranks, each in random order, all have the order of the first."""
    blocks, k = ranks.shape
    orders = factorial(k)
    for count in np.unique(ranks[0], return_counts=True)[1]:
        orders //= factorial(int(count))
    return pow(orders, 1 - blocks)


@lru_cache(maxsize=256)
def critical_difference(k: int, blocks: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of two mean ranks: ``q · sqrt(k (k + 1) / (6 blocks))``.

    Parameters
    ----------
    k
        Models.
    blocks
        Folds or data sets.
    alpha
        Chance of any false alarm.

    References
    ----------
    Demšar 2006, section 3.2.2: q is the studentised range of ``k`` over infinite freedom, divided by √2.
    """
    from scipy import stats

    q = float(stats.studentized_range.ppf(1 - alpha, k, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(k * (k + 1) / (6 * blocks)))


def find_cliques(mean_ranks: ArrayLike, difference: float) -> list[tuple[int, int]]:
    """First and last place of every longest run of sorted mean ranks that spans less than ``difference``."""
    ranks = np.asarray(mean_ranks, dtype=np.float64)
    runs: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + difference, side="left")) - 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs
