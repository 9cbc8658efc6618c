"""Rows that may count as independent: bursts of near-duplicates and rows of one subject count once.

Every test of drift takes rows for independent. A client that repeats one request a hundred times within a minute
has said one thing, not a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics._inputs import IntArray, as_group_ids


def find_bursts(
    vectors: ArrayLike, at_s: ArrayLike, within_s: float = 60.0, least_cosine: float = 0.98
) -> IntArray:
    """Number the bursts of rows that came close together in time and are near-duplicates, ``(n,)``.

    Rows are joined through others: a burst may last longer than ``within_s``. Equal texts far apart in time are
    not joined: independent people may ask the same, and how often they do is part of the distribution.

    Parameters
    ----------
    vectors
        One for each row, ``(n, d)``; rows of zeros are like nothing.
    at_s
        When each came, in seconds, ``(n,)``.
    within_s
        Longest gap between two rows that are joined.
    least_cosine
        Least likeness of two that are joined.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, times = np.asarray(vectors, dtype=np.float64), np.asarray(at_s, dtype=np.float64)
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    order = np.argsort(times, kind="stable")
    norms = np.linalg.norm(rows, axis=1)
    unit = (rows / np.where(norms > 0, norms, 1)[:, None])[order]
    last = np.searchsorted(times[order], times[order] + within_s, side="right")
    ends: list[tuple[int, int]] = []
    for place, end in enumerate(last.tolist()):
        alike = np.flatnonzero(unit[place + 1 : end] @ unit[place] >= least_cosine)
        ends += [(place, place + 1 + int(one)) for one in alike]
    left, right = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(len(rows), len(rows)))
    found = np.empty(len(rows), dtype=np.int64)
    found[order] = connected_components(graph, directed=False)[1]
    return found


def pick_one_of_each(groups: ArrayLike | Sequence[Any], seed: int = 0) -> IntArray:
    """Places of one row of each group, drawn at random, in ascending order; a row without group (None) is its own.

    Parameters
    ----------
    groups
        One for each row, ``(n,)``.
    seed
        Seed of the draw.
    """
    numbers = as_group_ids(groups, len(groups))  # type: ignore[arg-type]
    order = np.random.default_rng(seed).permutation(len(numbers))
    return np.sort(order[np.unique(numbers[order], return_index=True)[1]])
