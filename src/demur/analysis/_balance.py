"""Whether labels are spread alike over splits, sources and answering models: chi-square tests of tables.

The tests take rows for independent; where rows share prompts their p-values are too small, so Cramér's V,
which does not grow with the number of rows, is what to judge by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_EXPECTED = 5.0
"""An expected count below this calls for an exact or permutation test (Cochran 1954)."""
PERMUTATIONS = 9999
LARGE_EFFECT = 0.5
"""Cohen's w from which an association is called strong; w is V times the root of the smaller side less one."""


@dataclass(frozen=True)
class BalanceTest:
    """A test of independence; ``p`` None with the reason where there is nothing to test."""

    n: int
    statistic: float | None
    df: int | None
    p: float | None
    method: str | None
    """``chi-square``, ``fisher`` or ``permutation``."""
    cramers_v: float | None
    """In 0..1, corrected for its bias."""
    least_expected: float | None
    is_strong: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class Balance:
    """Counts of labels by another property of the rows, and their test."""

    name: str
    labels: tuple[str, ...]
    values: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """``(values, labels)``."""
    test: BalanceTest
    missing: int = 0
    """Rows without a value, which are not counted."""


def count_labels(
    name: str, labels: Sequence[str], y: NDArray[np.int64], values: Sequence[str | None], seed: int = 0
) -> Balance:
    """Count labels by the values of a property and test whether they depend on each other.

    Parameters
    ----------
    name
        What the values are: ``source``, ``answerer``, ``split``.
    labels
        The task's labels in order.
    y
        Class ids, ``(n,)``.
    values
        One for each row; rows with None are left out.
    seed
        Seed of the permutations.
    """
    names = sorted({value for value in values if value is not None})
    places = {value: place for place, value in enumerate(names)}
    counts = np.zeros((len(names), len(labels)), dtype=np.int64)
    missing = 0
    for label, value in zip(y, values, strict=True):
        if value is None:
            missing += 1
        else:
            counts[places[value], label] += 1
    return table_balance(name, labels, names, counts, seed=seed, missing=missing)


def table_balance(
    name: str, labels: Sequence[str], values: Sequence[str], counts: ArrayLike, *, seed: int = 0, missing: int = 0
) -> Balance:
    """The same from counts ``(values, labels)``."""
    table = np.asarray(counts, dtype=np.int64).reshape(len(values), len(labels))
    return Balance(
        name=name,
        labels=tuple(labels),
        values=tuple(values),
        counts=tuple(tuple(int(count) for count in row) for row in table),
        test=independence_test(table, seed),
        missing=missing,
    )


def independence_test(counts: ArrayLike, seed: int = 0) -> BalanceTest:
    """Test of independence of the rows and columns of a table of counts.

    Pearson's chi-square; where an expected count is below 5, Fisher's exact test (two by two) or 9,999 random
    tables with the same margins. Empty rows and columns are left out.

    Parameters
    ----------
    counts
        Whole numbers, ``(r, c)``.
    seed
        Seed of the random tables.

    References
    ----------
    Pearson, Phil. Mag. 50, 1900; Cochran, Biometrics 10, 1954; Patefield, Appl. Stat. 30, 1981 (random
    tables); Cramér 1946, section 21.9, with the correction of Bergsma, J. Korean Stat. Soc. 42, 2013; Cohen,
    Statistical power analysis, 1988, section 7.2 (w of 0.5 is large).
    """
    from scipy import stats

    table = np.asarray(counts, dtype=np.int64)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0] if table.size else table.reshape(0, 0)
    n = int(table.sum())
    if min(table.shape) < 2:
        return BalanceTest(n, None, None, None, None, None, None, reason="fewer than two labels, or two values")
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    statistic = _pearson(table, expected)
    df = (table.shape[0] - 1) * (table.shape[1] - 1)
    method, p = "chi-square", float(stats.chi2.sf(statistic, df))
    if expected.min() < LEAST_EXPECTED and table.shape == (2, 2):
        method, p = "fisher", float(stats.fisher_exact(table)[1])
    elif expected.min() < LEAST_EXPECTED:
        method, p = "permutation", _permutation_p(table, expected, statistic, seed)
    v = corrected_v(statistic, table.shape, n)
    return BalanceTest(
        n=n,
        statistic=statistic,
        df=df,
        p=p,
        method=method,
        cramers_v=v,
        least_expected=float(expected.min()),
        is_strong=v * math.sqrt(min(table.shape) - 1) >= LARGE_EFFECT,
    )


def corrected_v(statistic: float, shape: tuple[int, ...], n: int) -> float:
    """Bergsma's Cramér's V of a chi-square; 0 is no association, 1 that one side tells the other.

    Parameters
    ----------
    statistic
        Pearson's chi-square, without continuity correction.
    shape
        Rows and columns of the table.
    n
        Sum of the table.
    """
    r, c = shape
    if n < 2:
        return 0.0
    phi = max(0.0, statistic / n - (r - 1) * (c - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return min(1.0, math.sqrt(phi / least)) if least > 0 else 0.0


def _pearson(table: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    return float(((table - expected) ** 2 / expected).sum())


def _permutation_p(table: NDArray[np.int64], expected: NDArray[np.float64], statistic: float, seed: int) -> float:
    from scipy import stats

    tables = stats.random_table(table.sum(axis=1), table.sum(axis=0)).rvs(
        size=PERMUTATIONS, random_state=np.random.default_rng(seed)
    )
    found = ((tables - expected) ** 2 / expected).sum(axis=(1, 2))
    return (1 + int((found >= statistic * (1 - 1e-12)).sum())) / (PERMUTATIONS + 1)
