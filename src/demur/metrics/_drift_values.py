"""Tests of one number a row, such as a score or a length: Kolmogorov-Smirnov, and bins for the stability index."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import DataError
from demur.metrics._drift_permute import DriftTest, Permutations
from demur.metrics._drift_shares import stability_test
from demur.metrics._inputs import FloatArray, IntArray

BINS = 10
_EXACT_CELLS = 10_000
"""Products of sample sizes up to which the Kolmogorov-Smirnov distribution is taken exactly."""


def kolmogorov_smirnov_test(name: str, reference: ArrayLike, current: ArrayLike) -> DriftTest:
    """Whether two samples of a number are of one distribution, by the largest gap of their distributions.

    Where values repeat, as those of a classifier of few answers do, the p-value errs on the large side.

    Parameters
    ----------
    name
        What the test is called.
    reference, current
        Finite, ``(n,)`` and ``(m,)``.

    Raises
    ------
    DataError
        A value is not finite.

    References
    ----------
    Smirnov, Ann. Math. Stat. 19, 1948; Hodges, Ark. Mat. 3, 1958; Noether, Sankhya 25, 1963, for repeated values.
    """
    from scipy import stats

    first, second = check_values(name, reference, current)
    n, m = len(first), len(second)
    if not (n and m):
        return DriftTest(name, None, None, n, m, reason="one side has no rows")
    method = "exact" if n * m <= _EXACT_CELLS else "asymp"
    found = stats.ks_2samp(first, second, method=method)
    facts = {"median_reference": float(np.median(first)), "median_current": float(np.median(second))}
    shown = "exact distribution" if method == "exact" else "limiting distribution"
    return DriftTest(name, float(found.statistic), float(found.pvalue), n, m, shown, facts)


def bin_counts(reference: ArrayLike, current: ArrayLike, bins: int = BINS) -> tuple[IntArray, IntArray]:
    """Counts of two samples in bins that hold equally many of both together; equal values share a bin.

    Bins of the reference alone would hold exactly equal shares of it, which no other sample does: permutations
    would then understate what chance makes of the index.

    Parameters
    ----------
    reference, current
        Finite, ``(n,)`` and ``(m,)``.
    bins
        Number of bins; fewer where values repeat.
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (reference, current))
    both = np.sort(np.concatenate([first, second]))
    edges = np.unique(np.quantile(both, np.arange(1, bins) / bins, method="higher")) if len(both) else both
    places = [np.searchsorted(edges, values, side="right") for values in (first, second)]
    ours, theirs = (np.bincount(place, minlength=len(edges) + 1).astype(np.int64) for place in places)
    return ours, theirs


def stability_of_values(
    name: str,
    reference: ArrayLike,
    current: ArrayLike,
    bins: int = BINS,
    settings: Permutations | None = None,
) -> DriftTest:
    """:func:`stability_test` of a number, in bins by quantiles of both samples together.

    Parameters
    ----------
    name, reference, current
        As for :func:`kolmogorov_smirnov_test`.
    bins
        Number of bins.
    settings
        Of the permutations.

    Raises
    ------
    DataError
        A value is not finite.
    """
    first, second = check_values(name, reference, current)
    return stability_test(name, *bin_counts(first, second, bins), settings)


def check_values(name: str, reference: ArrayLike, current: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both samples as float64.

    Raises
    ------
    DataError
        One is not a column of finite numbers.
    """
    pair = [np.asarray(values, dtype=np.float64) for values in (reference, current)]
    for values in pair:
        if values.ndim != 1 or not np.isfinite(values).all():
            raise DataError(f"'{name}' holds values that are no finite numbers; leave those rows out")
    return pair[0], pair[1]
