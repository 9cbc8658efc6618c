"""First breaks: between which two budgets a prompt that was refused is first complied with.

Only checkpoints are looked at: a break is known to lie after the last one still refused and by the first one
complied with. A prompt that never breaks, or whose run was stopped, has no upper end. This is interval censoring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import DataError
from demur.metrics._inputs import BoolArray, FloatArray, IntArray
from demur.metrics._two_level import TwoLevels, as_cells


@dataclass(frozen=True)
class FirstBreaks:
    """Interval ``(low, high]`` of the budget at which each prompt first breaks under each seed.

    Parameters
    ----------
    low
        Largest budget at which it still held, ``(seeds, prompts)``; 0 where it never was seen to hold, NaN where
        it was never judged.
    high
        Smallest budget at which it had broken; infinite where it never did; 0 where it complied untampered.
    smallest, largest
        Smallest budget above 0 and largest budget at which anything was judged.
    """

    low: FloatArray
    high: FloatArray
    smallest: float
    largest: float

    @property
    def shape(self) -> tuple[int, int]:
        """Seeds and prompts."""
        seeds, prompts = self.low.shape
        return seeds, prompts

    @property
    def judged(self) -> BoolArray:
        """Which were judged at all, ``(seeds, prompts)``."""
        return ~np.isnan(self.low)

    @property
    def n(self) -> int:
        """Judged pairs of seed and prompt."""
        return int(self.judged.sum())

    @property
    def n_broken(self) -> int:
        """Of them, those that were seen to break."""
        return int(np.isfinite(self.high[self.judged]).sum())

    @property
    def n_at_start(self) -> int:
        """Of them, those complied with before any tampering."""
        return int((self.high[self.judged] == 0).sum())


def first_breaks(complied: ArrayLike, budgets: ArrayLike) -> FirstBreaks:
    """Find the interval of each prompt's first break.

    A prompt that is refused again later has still broken: this counts the first time.

    Parameters
    ----------
    complied
        1 where the response complied, 0 where not, NaN where it was not judged, ``(seeds, steps, prompts)``. Steps
        after a stop are NaN, not carried forward.
    budgets
        FLOPs (or steps, or examples) spent by each checkpoint, ``(steps,)`` or ``(seeds, steps)``; rising.

    Raises
    ------
    DataError
        Shapes disagree, budgets do not rise or are negative, or only 0 was spent.
    EmptyDataError
        There is no response.
    """
    cells = as_cells(complied, "complied")
    spent: FloatArray = np.asarray(budgets, dtype=np.float64)
    spent = (
        np.broadcast_to(spent, cells.shape[:2]) if spent.ndim == 1 and spent.shape == cells.shape[1:2] else spent
    )
    if spent.shape != cells.shape[:2]:
        raise DataError(
            f"budgets have shape {spent.shape} and the responses {cells.shape} (seeds, steps, prompts); pass one "
            "budget for each step, or for each seed and step"
        )
    if not np.isfinite(spent).all() or spent.min() < 0 or (np.diff(spent, axis=1) <= 0).any():
        raise DataError("budgets must be finite, 0 or more, and rise from step to step; sort the checkpoints")
    if not (spent > 0).any():
        raise DataError("no budget is above 0; pass at least one checkpoint after tampering began")
    found = cells == 1
    steps = np.arange(cells.shape[1])[None, :, None]
    first = np.where(found, steps, cells.shape[1]).min(axis=1)  # (seeds, prompts)
    held = ~np.isnan(cells) & (steps < first[:, None, :])
    last = np.where(held, steps, -1).max(axis=1)
    rows = np.arange(len(cells))[:, None]
    low = np.where(last >= 0, spent[rows, np.maximum(last, 0)], 0.0)
    high = np.where(first < cells.shape[1], spent[rows, np.minimum(first, cells.shape[1] - 1)], np.inf)
    judged = (last >= 0) | (first < cells.shape[1])
    seen = spent[(~np.isnan(cells)).any(axis=2)] if judged.any() else spent
    above = seen[seen > 0] if (seen > 0).any() else spent[spent > 0]
    low, high = (np.where(judged, one, np.nan) for one in (low, high))
    return FirstBreaks(low, high, float(above.min()), float(above.max()))


@dataclass(frozen=True)
class BreakCounts:
    """Distinct intervals and how often each came under each seed in each cluster."""

    low: FloatArray
    """``(u,)``; rows are distinct pairs of low and high."""
    high: FloatArray
    counts: FloatArray
    """``(seeds, u, clusters)``."""

    def weigh(self, seeds: FloatArray, clusters: FloatArray) -> FloatArray:
        """Counts ``(d, u)`` under weights of seeds ``(d, s)`` and clusters ``(d, k)``."""
        n_seeds, n_kinds, _ = self.counts.shape
        by_seed = (seeds @ self.counts.reshape(n_seeds, -1)).reshape(len(seeds), n_kinds, -1)
        return np.asarray(np.einsum("duk,dk->du", by_seed, clusters))


def count_breaks(breaks: FirstBreaks, levels: TwoLevels) -> BreakCounts:
    """Count equal intervals, so that a bootstrap draw costs as much as there are distinct ones."""
    judged = breaks.judged
    pairs = np.stack([breaks.low[judged], breaks.high[judged]], axis=1)
    kinds, places = np.unique(pairs, axis=0, return_inverse=True)
    at: IntArray = np.argwhere(judged)
    counts = np.zeros((levels.n_seeds, len(kinds), levels.n_clusters))
    np.add.at(counts, (at[:, 0], places.ravel(), levels.clusters[at[:, 1]]), 1)
    return BreakCounts(kinds[:, 0], kinds[:, 1], counts)
