"""Tests of what lasts in time, latency and errors: neighbouring requests share their fate, so blocks count."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics._drift_permute import DriftTest
from demur.metrics._drift_values import check_values
from demur.metrics._inputs import FloatArray

_LEAST_BLOCKS = 8


def block_test(name: str, reference: ArrayLike, current: ArrayLike, block: int = 10) -> DriftTest:
    """Whether values have become larger, by ranks of the means of blocks of neighbouring rows; one-sided.

    Dependence within a block costs nothing; what reaches further than a block is not allowed for.

    Parameters
    ----------
    name
        What the test is called.
    reference, current
        Finite, in order of time, ``(n,)`` and ``(m,)``; of errors 1 and 0.
    block
        Rows of a block.

    Raises
    ------
    DataError
        A value is not finite.

    References
    ----------
    Mann and Whitney, Ann. Math. Stat. 18, 1947; Künsch, Ann. Statist. 17, 1989, for blocks of dependent rows.
    """
    from scipy import stats

    first, second = check_values(name, reference, current)
    ours, theirs = _block_means(first, block), _block_means(second, block)
    if min(len(ours), len(theirs)) < _LEAST_BLOCKS:
        return DriftTest(
            name,
            None,
            None,
            len(first),
            len(second),
            reason=f"fewer than {_LEAST_BLOCKS * block} rows on one side",
        )
    statistic = float(theirs.mean() - ours.mean())
    facts = {"mean_reference": float(ours.mean()), "mean_current": float(theirs.mean()), "block": block}
    if np.ptp(np.concatenate([ours, theirs])) == 0:
        return DriftTest(name, statistic, 1.0, len(first), len(second), "all blocks are equal", facts)
    p = float(stats.mannwhitneyu(theirs, ours, alternative="greater").pvalue)
    return DriftTest(name, statistic, p, len(first), len(second), f"ranks of blocks of {block} rows", facts)


def _block_means(values: FloatArray, block: int) -> FloatArray:
    """Means of whole blocks, ``(n // block,)``; the rest at the start, the oldest, is left out."""
    count = len(values) // block
    return np.asarray(values[len(values) - count * block :].reshape(count, block).mean(axis=1))  # (blocks,)
