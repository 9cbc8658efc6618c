"""Approximate randomisation: were two models equal, each group's answers could have come from either alike.

Whole groups of answers are swapped between the two models at random; a difference is rare if few swaps give
one as large. Nothing is assumed of the figure's distribution, which for a security score is far from normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from demur.analysis._config import AnalysisConfig
from demur.analysis._predicted import Predicted
from demur.metrics import Measurement, metric_names
from demur.tasks import Task

_FIRST_STAGE, _CLEAR = 999, 0.03
"""Swaps for every pair; where the p-value is then above the second number, more would not change what is said."""
_ROOM, _MOST_SWAPS = 4, 50_000
_CHUNK_CELLS = 4_000_000
_OF_PROBABILITIES = ("roc_auc", "pr_auc", "ece", "recall_at_fpr_1", "recall_at_fpr_0_1")

PairKey = tuple[str, str]


def swap_p_values(
    task: Task, rows: Mapping[str, Predicted], pairs: Sequence[PairKey], config: AnalysisConfig
) -> dict[PairKey, dict[str, float]]:
    """Two-sided p-value of every pair and figure.

    Parameters
    ----------
    task
        The task judged.
    rows
        The models on the very same rows in the same order, with the same groups.
    pairs
        The pairs to test.
    config
        Figures, seed and the least number of swaps. Pairs far from significant get a tenth of them; where there
        are very many pairs, the others get more, or correction would leave none significant.

    Returns
    -------
    dict
        Without the figures that need probabilities, not answers; ``(1 + as large) / (1 + swaps)`` each.

    References
    ----------
    Noreen, Computer intensive methods for testing hypotheses, 1989, section 3A; Yeh, More accurate tests for
    the statistical significance of result differences, COLING 2000; Phipson and Smyth, Stat. Appl. Genet.
    Mol. Biol. 9, 2010, on adding one.
    """
    metrics = [name for name in config.metrics if name not in _OF_PROBABILITIES and name in metric_names(task)]
    if not config.draws or not config.permutations or not metrics or not pairs:
        return {}
    counts = _Counts(task, rows, metrics)
    generator = np.random.default_rng(config.seed)
    stage = min(_FIRST_STAGE, config.permutations)
    found = counts.exceed(pairs, stage, generator)  # (pairs, metrics)
    p_values = (1 + found) / (1 + stage)
    close: list[int] = np.flatnonzero((p_values <= _CLEAR).any(axis=1)).tolist()
    swaps = _swaps_for(len(pairs), config)
    more = swaps - stage
    if more > 0 and close:
        found[close] += counts.exceed([pairs[place] for place in close], more, generator)
        p_values[close] = (1 + found[close]) / (1 + swaps)
    return {
        pair: dict(zip(metrics, map(float, values), strict=True))
        for pair, values in zip(pairs, p_values, strict=True)
    }


def _swaps_for(pairs: int, config: AnalysisConfig) -> int:
    """Swaps enough for the smallest p-value to stay below alpha once it is multiplied by the number of pairs."""
    return max(config.permutations, min(round(_ROOM * pairs / config.alpha), _MOST_SWAPS))


class _Counts:
    """Confusion counts of each group and model, and figures of any sum of them."""

    def __init__(self, task: Task, rows: Mapping[str, Predicted], metrics: Sequence[str]) -> None:
        first = next(iter(rows.values()))
        self.k = len(task.labels)
        self.width = self.k * self.k
        self.groups = int(first.groups.max()) + 1
        self.places = {name: place for place, name in enumerate(rows)}
        self.metrics = list(metrics)
        tables = [self._table(found) for found in rows.values()]
        self.tables = np.concatenate(tables, axis=1)  # (groups, models * cells)
        self.totals = np.stack([table.sum(axis=0) for table in tables])  # (models, cells)
        # One row for each cell a true class can fall into: weights of its "groups" are then confusion counts.
        self.cells = np.flatnonzero(np.repeat(np.bincount(first.y, minlength=self.k) > 0, self.k))
        self.measurement = Measurement(
            task, self.cells // self.k, self.cells % self.k, None, np.arange(len(self.cells)), metrics
        )

    def _table(self, rows: Predicted) -> NDArray[np.float64]:
        at = (rows.groups * self.k + rows.y) * self.k + rows.called
        return np.bincount(at, minlength=self.groups * self.width).reshape(self.groups, -1).astype(np.float64)

    def measure(self, confusion: NDArray[np.float64]) -> NDArray[np.float64]:
        """Figures of counts ``(..., cells)``, as ``(..., metrics)``."""
        flat = confusion.reshape(-1, self.width)[:, self.cells]
        values = self.measurement.measure(flat)
        return np.stack([values[name] for name in self.metrics], axis=-1).reshape(*confusion.shape[:-1], -1)

    def exceed(self, pairs: Sequence[PairKey], swaps: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """How many random swaps give a difference at least as large, ``(pairs, metrics)``."""
        a, b = (np.array([self.places[pair[side]] for pair in pairs]) for side in (0, 1))
        start = self.measure(self.totals)
        observed = np.abs(start[a] - start[b])  # (pairs, metrics)
        found = np.zeros(observed.shape, dtype=np.int64)
        size = max(1, _CHUNK_CELLS // max(len(pairs) * self.width * 4, self.groups))
        for begin in range(0, swaps, size):
            count = min(size, swaps - begin)
            swapped = generator.integers(0, 2, size=(count, self.groups)).astype(np.float64)
            parts = (swapped @ self.tables).reshape(count, len(self.places), self.width)
            moved = parts[:, b] - parts[:, a]  # (swaps, pairs, cells)
            gap = self.measure(self.totals[a] + moved) - self.measure(self.totals[b] - moved)
            found += (np.abs(gap) >= observed - 1e-12).sum(axis=0)
        return found
