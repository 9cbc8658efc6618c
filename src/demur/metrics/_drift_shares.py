"""Tests of counts by kind (labels, languages, bins): chi-square, Jensen-Shannon distance, stability index."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import DataError
from demur.metrics._drift_permute import Draw, DriftTest, Permutations, sequential_p_value
from demur.metrics._inputs import FloatArray, IntArray

LEAST_EXPECTED = 5.0
"""An expected count below this calls for permutations (Cochran 1954)."""
_SMOOTHING = 0.5
"""Added to every count of the stability index, which is infinite for an empty bin otherwise."""
_NULL_DRAWS = 999

Distance = Callable[[ArrayLike, ArrayLike], FloatArray]
"""Of counts ``(..., k)`` and ``(..., k)``, ``(...)``."""


def population_stability_index(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """``Σ (q - p) ln(q / p)`` over the shares p and q of two sets of counts ``(..., k)``; 0 where they agree.

    Half a row is added to each count, so that an empty bin leaves the index finite.

    References
    ----------
    Siddiqi, Credit risk scorecards, 2006, chapter 9; Kullback and Leibler, Ann. Math. Stat. 22, 1951, equation
    2.6 (it is their divergence J); Jeffreys, Proc. R. Soc. A 186, 1946, for the half.
    """
    parts = [np.asarray(counts, dtype=np.float64) + _SMOOTHING for counts in (reference, current)]
    p, q = (part / part.sum(axis=-1, keepdims=True) for part in parts)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def jensen_shannon_distance(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Root of the Jensen-Shannon divergence, in bits, of two sets of counts ``(..., k)``: 0 equal, 1 disjoint.

    References
    ----------
    Lin, Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37, 1991, section 4; Endres
    and Schindelin, IEEE Trans. Inf. Theory 49, 2003, for its root being a distance.
    """
    parts = [np.asarray(counts, dtype=np.float64) for counts in (reference, current)]
    p, q = (part / np.maximum(part.sum(axis=-1, keepdims=True), 1e-300) for part in parts)
    middle = (p + q) / 2
    terms = sum(np.where(one > 0, one * np.log2(np.where(one > 0, one / _above(middle), 1)), 0) for one in (p, q))
    return np.asarray(np.sqrt(np.maximum(np.sum(terms, axis=-1) / 2, 0)))


def chi_square(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Pearson's chi-square of two sets of counts ``(..., k)``, without continuity correction.

    References
    ----------
    Pearson, Phil. Mag. 50, 1900.
    """
    first, second = (np.asarray(counts, dtype=np.float64) for counts in (reference, current))
    n, m = (part.sum(axis=-1, keepdims=True) for part in (first, second))
    both = _above(first + second)
    return np.asarray((np.square(first * m - second * n) / both).sum(axis=-1) / _above((n * m)[..., 0]))


def chi_square_test(
    name: str, reference: ArrayLike, current: ArrayLike, settings: Permutations | None = None
) -> DriftTest:
    """Whether two sets of counts are of the same shares.

    The p-value is of the chi-square distribution, or of random tables with the same margins where an expected
    count is below 5. Kinds that neither side has are left out.

    Parameters
    ----------
    name
        What the test is called.
    reference, current
        Whole numbers, ``(k,)``.
    settings
        Of the permutations.

    Raises
    ------
    DataError
        The counts are negative or not of the same kinds.

    References
    ----------
    Cochran, Some methods for strengthening the common chi-square tests, Biometrics 10, 1954, section 3.
    """
    from scipy import stats

    first, second, refused = _check_counts(name, reference, current)
    if refused is not None:
        return refused
    n, m = int(first.sum()), int(second.sum())
    statistic = float(chi_square(first, second))
    least = float((first + second).min() * min(n, m) / (n + m))
    method = "chi-square"
    p = float(stats.chi2.sf(statistic, len(first) - 1))
    if least < LEAST_EXPECTED:
        p, draws = sequential_p_value(
            statistic, _draw_tables(first, second, chi_square), settings or Permutations()
        )
        method = f"{draws} permutations"
    facts = {"cramers_v": float(np.sqrt(statistic / (n + m))), "least_expected": least}
    return DriftTest(name, statistic, p, n, m, method, facts)


def jensen_shannon_test(
    name: str, reference: ArrayLike, current: ArrayLike, settings: Permutations | None = None
) -> DriftTest:
    """As :func:`chi_square_test`, by the Jensen-Shannon distance and always by permutations.

    It weighs rare kinds more than the chi-square does, and its size can be compared between windows.

    Parameters
    ----------
    name, reference, current, settings
        As there.

    Raises
    ------
    DataError
        The counts are negative or not of the same kinds.
    """
    return _distance_test(name, (reference, current), jensen_shannon_distance, settings or Permutations())


def stability_test(
    name: str, reference: ArrayLike, current: ArrayLike, settings: Permutations | None = None
) -> DriftTest:
    """As :func:`chi_square_test`, by the population stability index and always by permutations.

    The thresholds 0.1 and 0.25 of common use know nothing of the number of rows: without any drift the index is
    about (k - 1)(1/n + 1/m) on average, 0.045 for ten bins of a reference of 1,000 and a window of 250. So the
    p-value is of permutations; that mean (``expected``) and the value that 5 % of permutations reach
    (``threshold``) stand in the facts.

    Parameters
    ----------
    name, reference, current, settings
        As there.

    Raises
    ------
    DataError
        The counts are negative or not of the same kinds.

    References
    ----------
    Yurdakul and Naranjo, Statistical properties of the population stability index, J. Risk Model Validation 14,
    2020, section 3.
    """
    found = _distance_test(name, (reference, current), population_stability_index, settings or Permutations())
    if found.p_value is None:
        return found
    first, second, _ = _check_counts(name, reference, current)
    draw = _draw_tables(first, second, population_stability_index)
    seed = (settings or Permutations()).seed
    null = draw(_NULL_DRAWS, np.random.default_rng(seed))
    facts = {
        "expected": (len(first) - 1) * (1 / found.n_reference + 1 / found.n_current),
        "threshold": float(np.quantile(null, 0.95)),
        "bins": len(first),
    }
    return DriftTest(name, found.statistic, found.p_value, found.n_reference, found.n_current, found.method, facts)


def _distance_test(
    name: str, counts: tuple[ArrayLike, ArrayLike], distance: Distance, settings: Permutations
) -> DriftTest:
    first, second, refused = _check_counts(name, *counts)
    if refused is not None:
        return refused
    statistic = float(distance(first, second))
    p, draws = sequential_p_value(statistic, _draw_tables(first, second, distance), settings)
    return DriftTest(name, statistic, p, int(first.sum()), int(second.sum()), f"{draws} permutations")


def _draw_tables(first: IntArray, second: IntArray, distance: Distance) -> Draw:
    """Permutations of rows between two sides leave only the counts of one side to be drawn."""
    both, m = first + second, int(second.sum())

    def draw(count: int, generator: np.random.Generator) -> FloatArray:
        drawn = generator.multivariate_hypergeometric(both, m, size=count, method="marginals")  # (count, k)
        return distance(both - drawn, drawn)

    return draw


def _check_counts(
    name: str, reference: ArrayLike, current: ArrayLike
) -> tuple[IntArray, IntArray, DriftTest | None]:
    """Counts of the kinds that are there, and the result of a test that cannot be made."""
    first, second = (np.asarray(counts) for counts in (reference, current))
    if first.ndim != 1 or first.shape != second.shape:
        raise DataError(f"'{name}' has counts of shapes {first.shape} and {second.shape}; count the same kinds")
    if (first < 0).any() or (second < 0).any():
        raise DataError(f"'{name}' has a negative count; pass counts of rows")
    kept = (first + second) > 0
    ours, theirs = (part[kept].astype(np.int64) for part in (first, second))
    n, m = int(ours.sum()), int(theirs.sum())
    reason = "one side has no rows" if not (n and m) else "all rows are of one kind" if len(ours) < 2 else None
    return ours, theirs, None if reason is None else DriftTest(name, None, None, n, m, reason=reason)


def _above(values: FloatArray) -> FloatArray:
    """The same with 1 for 0, to divide by where the dividend is 0 too."""
    return np.asarray(np.where(values > 0, values, 1))
