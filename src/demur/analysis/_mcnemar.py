"""McNemar's test of two models on the same rows, plain and robust to rows that come in groups.

Only rows that one model has right and the other wrong count. The plain test takes them for independent; rows
of one prompt are not, so the clustered test, whose unit is the group, is the one to go by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEW_DISCORDANT = 25
"""Below so many discordant rows (or groups) the chi-square approximation gives way to an exact test."""


@dataclass(frozen=True)
class McNemar:
    """The test in all its forms; ``p`` is the plain one to use, ``clustered_p`` the one by groups."""

    only_a: int
    """Rows that model a alone has right."""
    only_b: int
    exact_p: float
    mid_p: float
    statistic: float
    """Chi-square with continuity correction, one degree of freedom."""
    chi2_p: float
    p: float
    method: str
    """``mid-p`` or ``chi-square``: where ``p`` comes from."""
    clustered_p: float
    clustered_method: str
    """``sign-flip`` (exact) or ``obuchowski``."""
    groups: int
    """Groups in which one model has more rows right than the other."""


def mcnemar(right_a: ArrayLike, right_b: ArrayLike, groups: ArrayLike | None = None) -> McNemar:
    """Test whether two models are right equally often on the same rows.

    With fewer than 25 discordant rows ``p`` is the mid-p value of the exact binomial test, which keeps its
    level without being as timid as the exact one; else that of the chi-square with continuity correction.

    Parameters
    ----------
    right_a, right_b
        Whether each model is right, ``(n,)``.
    groups
        Group numbers ``0..g-1``, ``(n,)``; each row is its own where absent.

    References
    ----------
    McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12,
    1947; Edwards, Psychometrika 13, 1948 (continuity correction); Fagerland, Lydersen and Laake, The McNemar
    test for binary matched-pairs data, BMC Med. Res. Methodol. 13, 2013 (mid-p).
    """
    from scipy import stats

    first, second = np.asarray(right_a, dtype=np.int64), np.asarray(right_b, dtype=np.int64)
    only_a, only_b = int((first > second).sum()), int((second > first).sum())
    total, fewer = only_a + only_b, min(only_a, only_b)
    exact = min(1.0, 2 * float(stats.binom.cdf(fewer, total, 0.5))) if total else 1.0
    # Half the probability of the observed split is taken off each tail.
    mid = 2 * float(stats.binom.cdf(fewer, total, 0.5)) - float(stats.binom.pmf(fewer, total, 0.5))
    mid = min(1.0, mid) if total and only_a != only_b else 1.0
    statistic = max(abs(only_a - only_b) - 1, 0) ** 2 / total if total else 0.0
    chi2_p = float(stats.chi2.sf(statistic, 1))
    is_small = total < FEW_DISCORDANT
    numbers = np.arange(len(first)) if groups is None else np.asarray(groups)
    excess = np.bincount(numbers, first - second).astype(np.float64)
    clustered_p, clustered_method = _test_groups(excess)
    return McNemar(
        only_a=only_a,
        only_b=only_b,
        exact_p=exact,
        mid_p=mid,
        statistic=statistic,
        chi2_p=chi2_p,
        p=mid if is_small else chi2_p,
        method="mid-p" if is_small else "chi-square",
        clustered_p=clustered_p,
        clustered_method=clustered_method,
        groups=int((excess != 0).sum()),
    )


def _test_groups(excess: NDArray[np.float64]) -> tuple[float, str]:
    """The clustered p-value and its method, from each group's surplus of rows only a has right, ``(g,)``."""
    from scipy import stats

    if (excess != 0).sum() < FEW_DISCORDANT:
        return sign_flip_p(excess), "sign-flip"
    return float(stats.chi2.sf(obuchowski_statistic(excess), 1)), "obuchowski"


def obuchowski_statistic(excess: ArrayLike) -> float:
    """Obuchowski's chi-square (one degree of freedom) of two correlated proportions in clustered rows.

    With the pooled proportion in place of both, its variance comes down to that of the groups' surpluses, so
    that groups count by their rows, as in the difference of the two accuracies itself.

    Parameters
    ----------
    excess
        Rows only a has right less rows only b has right, of each group, ``(g,)``.

    References
    ----------
    Obuchowski, On the comparison of correlated proportions for clustered data, Stat. Med. 17, 1998,
    section 2; Yang, Sun and Hardin, Stat. Med. 29, 2010, find its size good beside Durkalski's (2003).
    """
    values = np.asarray(excess, dtype=np.float64)
    squares = float((values**2).sum())
    if not squares or len(values) < 2:
        return 0.0
    return float(values.sum()) ** 2 / (len(values) / (len(values) - 1) * squares)


def sign_flip_p(excess: ArrayLike) -> float:
    """Exact two-sided p-value when, were the models equal, each group's surplus had either sign alike.

    Parameters
    ----------
    excess
        Whole numbers, ``(g,)``; groups of surplus 0 say nothing.

    References
    ----------
    Fisher, The design of experiments, 1935, section 21. With one row a group this is the exact McNemar test.
    """
    sizes = np.abs(np.asarray(excess)).astype(np.int64)
    sizes = sizes[sizes > 0]
    chances = np.ones(1)
    for size in sizes:
        step = np.zeros(2 * int(size) + 1)
        step[0] = step[-1] = 0.5
        chances = np.convolve(chances, step)
    sums = np.arange(len(chances)) - int(sizes.sum())
    observed = abs(int(np.asarray(excess).sum()))
    return min(1.0, float(chances[np.abs(sums) >= observed].sum()))
