"""Whether a model is shown to be right no less often than another on the same rows, up to a margin.

A test of no difference that finds none shows nothing: with few rows it never finds one. Here the burden is the
other way round: the challenger is worse until it is shown not to be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

FEW_GROUPS = 10
"""Below so many groups nothing is shown, however many rows they have."""


@dataclass(frozen=True)
class NonInferiority:
    """One comparison; differences are of the new model less the old one, in shares of rows that are right."""

    n: int
    groups: int
    only_new: int
    """Rows that the new model alone has right."""
    only_old: int
    difference: float
    low: float
    """Lower end of the one-sided interval at the level asked for."""
    p: float
    """Of the claim that the new model is worse by the margin or more; small: it is not."""
    p_worse: float
    """Of the claim that the new model is no worse at all; small: it is worse, by however little."""
    design_effect: float
    """Rows that are worth as much as one row would be if no two were of one group."""
    worst_effect: float
    """The same if all rows of a group fared alike; of the groups' sizes alone, whatever the models answered."""


def score_z(only_new: float, only_old: float, n: float, difference: float) -> float:
    """Tango's score statistic of a difference of two paired proportions; about normal where it is the true one.

    The variance is that of the most likely proportions with exactly this difference, which is why it holds with
    few rows, and where the two models never differ, when Wald's variance would be 0.

    Parameters
    ----------
    only_new, only_old
        Rows that one of them alone has right; may be fractions of rows.
    n
        All rows.
    difference
        Assumed true difference, above -1 and below 1.

    References
    ----------
    Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
    Stat. Med. 17, 1998, equations 4 to 6.
    """
    a = 2 * n
    b = -only_new - only_old + (2 * n - only_new + only_old) * difference
    c = -only_old * difference * (1 - difference)
    root = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)  # share that the old one alone has right
    variance = n * (2 * root + difference * (1 - difference))
    distance = only_new - only_old - n * difference
    if variance <= 1e-12:
        return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def design_effect(excess: ArrayLike, sizes: ArrayLike, discordant: int) -> float:
    """By how much rows of one group inflate the variance of the difference; at least 1.

    Estimated from the groups' surpluses, and drawn towards the worst there can be, that all rows of a group fare
    alike, the more the fewer groups have any surplus: a variance cannot be told from three of them.

    Parameters
    ----------
    excess
        Rows only the new model has right less rows only the old one has right, of each group, ``(g,)``.
    sizes
        Rows of each group, ``(g,)``.
    discordant
        Rows that one model alone has right.

    References
    ----------
    Rao and Scott, A simple method for the analysis of clustered binary data, Biometrics 48, 1992, section 2 (rows
    divided by the design effect); Obuchowski, Stat. Med. 17, 1998, section 2 (the variance over groups); Kish,
    Survey sampling, 1965, section 8.2 (the effect of groups that are wholly alike).
    """
    surplus, rows = np.asarray(excess, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    n, groups = rows.sum(), len(rows)
    worst = worst_design_effect(rows)
    told = int((surplus != 0).sum())
    if groups < 2 or not told:
        return max(1.0, worst)
    difference = surplus.sum() / n
    clustered = groups / (groups - 1) * float(((surplus - difference * rows) ** 2).sum())
    plain = discordant - surplus.sum() ** 2 / n
    found = clustered / plain if plain > 0 else worst
    weight = told / (told + FEW_GROUPS)
    return max(1.0, weight * found + (1 - weight) * worst)


def worst_design_effect(sizes: ArrayLike) -> float:
    """By how much groups inflate a variance if all rows of a group fare alike: the mean group that a row is in.

    Parameters
    ----------
    sizes
        Rows of each group, ``(g,)``, at least one group.

    References
    ----------
    Kish, Survey sampling, 1965, section 8.2.
    """
    rows = np.asarray(sizes, dtype=np.float64)
    return float((rows**2).sum() / rows.sum())


def noninferiority(
    right_new: ArrayLike, right_old: ArrayLike, groups: ArrayLike, margin: float, alpha: float = 0.05
) -> NonInferiority:
    """Test on the same rows, which come in groups, that a model is worse by the margin or more.

    Rows are divided by the design effect; Tango's score test is one-sided, at a difference of minus the margin.

    Parameters
    ----------
    right_new, right_old
        Whether each model is right, ``(n,)``, at least one row.
    groups
        Group of each row, ``(n,)``.
    margin
        Above 0.
    alpha
        1 less the level of the one-sided interval.

    References
    ----------
    Tango, Stat. Med. 17, 1998; Rao and Scott, Biometrics 48, 1992; Yang, Sun and Hardin, Testing non-inferiority
    for clustered matched-pair binary data in diagnostic medicine, Comput. Stat. Data Anal. 56, 2012, section 2, on
    the question itself.
    """
    new, old = np.asarray(right_new, dtype=np.int64), np.asarray(right_old, dtype=np.int64)
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(numbers)
    excess = np.bincount(numbers, new - old)
    only_new, only_old, n = int((new > old).sum()), int((old > new).sum()), len(new)
    effect = design_effect(excess, sizes, only_new + only_old)
    counts = (only_new / effect, only_old / effect, n / effect)
    normal, is_few = NormalDist(), len(sizes) < FEW_GROUPS
    p = 1.0 if is_few else 1 - normal.cdf(score_z(*counts, -margin))
    p_worse = 1.0 if is_few or only_new >= only_old else normal.cdf(score_z(*counts, 0.0))
    return NonInferiority(
        n=n,
        groups=len(sizes),
        only_new=only_new,
        only_old=only_old,
        difference=(only_new - only_old) / n,
        low=_lower_end(counts, alpha),
        p=p,
        p_worse=p_worse,
        design_effect=effect,
        worst_effect=worst_design_effect(sizes),
    )


def _lower_end(counts: tuple[float, float, float], alpha: float) -> float:
    """The smallest difference that the score test does not reject, by bisection: the statistic falls with it."""
    wanted, low, high = NormalDist().inv_cdf(1 - alpha), -1.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if score_z(*counts, middle) > wanted else (low, middle)
    return (low + high) / 2
