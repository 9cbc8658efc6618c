"""Many tests of one window at once: Benjamini and Hochberg's adjusted p-values, and one p-value for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def adjust_fdr(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values in the order given; where one is at most alpha, its test found something.

    Of all that is found, at most alpha is false on average, where the tests are independent or depend positively
    on each other, as tests of the same rows do. Where nothing has changed at all, *any* find is false, so the
    chance of one is at most alpha.

    Parameters
    ----------
    p_values
        One for each test of the family; None where a test could not be had, which then is not of the family.

    References
    ----------
    Benjamini and Hochberg, Controlling the false discovery rate, J. R. Statist. Soc. B 57, 1995, section 3;
    Benjamini and Yekutieli, Ann. Statist. 29, 2001, theorem 1.2, for positive dependence.
    """
    there = [place for place, p in enumerate(p_values) if p is not None]
    values = np.array([p_values[place] for place in there], dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * len(values) / np.arange(1, len(values) + 1)
    below = np.minimum.accumulate(steps[::-1])[::-1] if len(values) else steps
    adjusted: list[float | None] = [None] * len(p_values)
    for rank, value in enumerate(np.minimum(below, 1.0)):
        adjusted[there[int(order[rank])]] = float(value)
    return adjusted


def combine_simes(p_values: Sequence[float | None]) -> float | None:
    """One p-value of "nothing has changed" from those of several tests; the smallest adjusted one.

    Parameters
    ----------
    p_values
        As for :func:`adjust_fdr`; None of them is there: None.

    References
    ----------
    Simes, An improved Bonferroni procedure, Biometrika 73, 1986; Sarkar, Ann. Statist. 26, 1998, for positive
    dependence.
    """
    found = [value for value in adjust_fdr(p_values) if value is not None]
    return min(found, default=None)
