"""Tests of a vector a row, such as an embedding: maximum mean discrepancy and the classifier two-sample test."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from demur.config import Settings
from demur.errors import DataError
from demur.metrics._drift_permute import DriftTest, Permutations, draw_members, sequential_p_value
from demur.metrics._inputs import BoolArray, FloatArray

Reals = NDArray[np.floating[Any]]
_LEAST = 10
"""Rows of a side below which neither test is made."""
_NO_ROWS = f"fewer than {_LEAST} rows on one side"


class ClassifierTestConfig(Settings):
    """The logistic regression that tries to tell the window from the reference."""

    folds: int = Field(default=4, ge=2, le=20, description="No row is scored by a fit that saw it.")
    penalty: float = Field(default=0.05, gt=0, description="Ridge penalty, for each training row.")
    steps: int = Field(default=12, ge=1, description="Steps of a fit.")


def mmd_test(
    name: str,
    reference: ArrayLike,
    current: ArrayLike,
    settings: Permutations | None = None,
    most_rows: int = 1000,
) -> DriftTest:
    """Whether two samples of vectors are of one distribution, by the maximum mean discrepancy.

    The unbiased estimate of its square with a Gaussian kernel, whose width is the median distance of all pairs; by
    permutations of the rows. Takes time and memory of the square of the number of rows.

    Parameters
    ----------
    name
        What the test is called.
    reference, current
        Finite, ``(n, d)`` and ``(m, d)``.
    settings
        Of the permutations; its seed also draws rows.
    most_rows
        Rows taken at random of a side that has more.

    Raises
    ------
    DataError
        The samples are not finite vectors of one length.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola, A kernel two-sample test, JMLR 13, 2012, equation 3 (lemma 6)
    and section 8 (the median heuristic).
    """
    settings = settings or Permutations()
    first, second = _check_vectors(name, reference, current, most_rows, settings.seed)
    n, m = len(first), len(second)
    if min(n, m) < _LEAST:
        return DriftTest(name, None, None, n, m, reason=_NO_ROWS)
    rows = np.concatenate([first, second])
    squares = np.square(rows).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)  # (n + m, n + m)
    width = float(np.median(distances[np.triu_indices(n + m, 1)]))
    if width <= 0:
        return DriftTest(name, None, None, n, m, reason="most rows are the same")
    kernel = np.exp(-distances / width)
    np.fill_diagonal(kernel, 0.0)
    sums, total = kernel.sum(axis=1), float(kernel.sum())
    # Half the time in single precision, whose error is a thousandth of what a permutation changes.
    small = kernel.astype(np.float32)

    def squared(members: FloatArray) -> FloatArray:
        """Estimates ``(d,)`` for choices of the window's rows ``(d, n + m)``."""
        within = ((members.astype(np.float32) @ small) * members).sum(axis=1)
        across = members @ sums - within
        rest = total - within - 2 * across
        return np.asarray(rest / (n * (n - 1)) + within / (m * (m - 1)) - 2 * across / (n * m))

    actual = np.concatenate([np.zeros(n), np.ones(m)])
    statistic = float(squared(actual[None])[0])
    p, draws = sequential_p_value(
        statistic, lambda count, generator: squared(draw_members(n, m, count, generator)), settings
    )
    return DriftTest(name, statistic, p, n, m, f"{draws} permutations", {"width": float(np.sqrt(width))})


def classifier_test(
    name: str,
    reference: ArrayLike,
    current: ArrayLike,
    settings: Permutations | None = None,
    config: ClassifierTestConfig | None = None,
) -> DriftTest:
    """Whether a classifier can tell the window from the reference, by the area under its ROC curve.

    A ridge-penalised logistic regression scores rows of folds that it did not learn from; areas are taken fold by
    fold and averaged. Every permutation fits all folds again, so the p-value is valid although the folds share
    training rows, which a binomial test of all rows would not be. The area and not the accuracy, because sides of
    unlike size make accuracy blunt.

    The fits take steps of fixed curvature (a quarter of X'X, which bounds that of the log likelihood), so that
    many permutations are fitted in one product of matrices.

    Parameters
    ----------
    name
        What the test is called.
    reference, current
        Finite, ``(n, d)`` and ``(m, d)``.
    settings
        Of the permutations; its seed also draws folds.
    config
        Of the classifier.

    Raises
    ------
    DataError
        The samples are not finite vectors of one length.

    References
    ----------
    Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017, section 3; Kim, Ramdas, Singh and
    Wasserman, Classification accuracy as a proxy for two-sample testing, Ann. Statist. 49, 2021, section 7
    (permutations); Böhning and Lindsay, Ann. Inst. Statist. Math. 40, 1988, section 3 (the steps).
    """
    settings, config = settings or Permutations(), config or ClassifierTestConfig()
    first, second = _check_vectors(name, reference, current, None, settings.seed)
    n, m = len(first), len(second)
    if min(n, m) < _LEAST * config.folds:
        return DriftTest(name, None, None, n, m, reason=f"fewer than {_LEAST * config.folds} rows on one side")
    rows = np.concatenate([first, second])
    spread = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0))[:, spread > 1e-12] / spread[spread > 1e-12]
    rows = np.concatenate([rows, np.ones((n + m, 1))], axis=1).astype(np.float32)
    folds = np.random.default_rng(settings.seed).permutation(n + m) % config.folds

    def areas(members: FloatArray) -> FloatArray:
        sides = members.T.astype(np.float32)  # (n + m, d)
        found = [_fold_areas(rows, folds == fold, sides, config) for fold in range(config.folds)]
        return np.asarray(np.mean(found, axis=0))

    statistic = float(areas(np.concatenate([np.zeros(n), np.ones(m)])[None])[0])
    p, draws = sequential_p_value(
        statistic, lambda count, generator: areas(draw_members(n, m, count, generator)), settings
    )
    return DriftTest(name, statistic, p, n, m, f"{draws} permutations, each fitted again")


def fit_logistic(rows: Reals, members: Reals, config: ClassifierTestConfig) -> Reals:
    """Weights ``(d, p)`` of ridge logistic regressions of ``p`` columns of 0 and 1 ``(n, p)`` on rows ``(n, d)``.

    The last column of the rows is the constant, which is not penalised.
    """
    penalty = np.full(rows.shape[1], config.penalty * len(rows), dtype=rows.dtype)
    penalty[-1] = 1e-6
    inverse = np.linalg.inv(rows.T @ rows / 4 + np.diag(penalty))
    weights = np.zeros((rows.shape[1], members.shape[1]), dtype=rows.dtype)
    for _ in range(config.steps):
        chances = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        weights += inverse @ (rows.T @ (members - chances) - penalty[:, None] * weights)
    return weights


def _fold_areas(rows: Reals, held: BoolArray, members: Reals, config: ClassifierTestConfig) -> FloatArray:
    """Areas ``(p,)`` on the rows held out, for each column of members ``(n + m, p)``."""
    from scipy import stats

    scores = rows[held] @ fit_logistic(rows[~held], members[~held], config)
    ranks = stats.rankdata(scores, axis=0)
    inside = members[held]
    ones = inside.sum(axis=0)
    pairs = ones * (len(inside) - ones)
    above = (ranks * inside).sum(axis=0) - ones * (ones + 1) / 2
    return np.asarray(np.where(pairs > 0, above / np.where(pairs > 0, pairs, 1), 0.5))


def _check_vectors(
    name: str, reference: ArrayLike, current: ArrayLike, most_rows: int | None, seed: int
) -> tuple[FloatArray, FloatArray]:
    pair = [np.asarray(rows, dtype=np.float64) for rows in (reference, current)]
    if any(rows.ndim != 2 for rows in pair) or pair[0].shape[1] != pair[1].shape[1]:
        raise DataError(f"'{name}' has vectors of shapes {pair[0].shape} and {pair[1].shape}; take one encoder's")
    if not all(np.isfinite(rows).all() for rows in pair):
        raise DataError(f"'{name}' has vectors that are not finite; leave those rows out")
    if most_rows is None:
        return pair[0], pair[1]
    generator = np.random.default_rng(seed)
    kept = [
        rows[np.sort(generator.choice(len(rows), most_rows, replace=False))] if len(rows) > most_rows else rows
        for rows in pair
    ]
    return kept[0], kept[1]
