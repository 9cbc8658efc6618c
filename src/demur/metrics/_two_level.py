"""The two-level bootstrap: seeds of the training are drawn, and prompts by category, each with replacement.

Every seed was asked the same prompts, so the two are crossed and drawn apart: a draw is a weight for each seed and
one for each cluster of prompts, and a response counts with their product. Drawing other prompts for each seed
would treat a prompt that is hard under every seed as that many prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from demur.errors import DataError, EmptyDataError
from demur.metrics._bootstrap import Bootstrap, Interval, bootstrap_settings, draw_weights, percentile_interval
from demur.metrics._inputs import BoolArray, FloatArray, IntArray, as_group_ids

DRAWS = 2000
FEW_SEEDS = 3
"""Below so many the spread over trainings cannot be told."""
FEW_CLUSTERS = 10
Statistic = Callable[[FloatArray, FloatArray], FloatArray]
"""Seed weights ``(d, s)`` and cluster weights ``(d, k)`` to values ``(d, m)``; NaN where undefined."""


class Drawn(NamedTuple):
    """Statistics and their draws, stretched for few seeds."""

    values: FloatArray
    """``(m,)``."""
    draws: FloatArray
    """``(draws, m)``; NaN where undefined."""


class TwoLevels:
    """Seeds and clusters of prompts, ready to be drawn.

    Parameters
    ----------
    shape
        Trainings ``s``, each judged on the same prompts, and prompts ``p``.
    categories
        Category of each prompt, ``(p,)``; whole categories are drawn. A prompt without one (None) is its own; all
        are where ``categories`` is absent.
    settings
        Draws, level and seed.
    """

    def __init__(
        self, shape: tuple[int, int], categories: ArrayLike | Sequence[Any] | None, settings: Bootstrap
    ) -> None:
        self.n_seeds, self.n_prompts = shape
        self.settings = settings
        self.clusters: IntArray = as_group_ids(categories, self.n_prompts)
        self.n_clusters = int(self.clusters.max()) + 1

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the intervals must know."""
        found = []
        if self.n_seeds == 1:
            found.append("one seed: the intervals do not hold the spread over trainings")
        elif self.n_seeds < FEW_SEEDS:
            found.append(f"{self.n_seeds} seeds: the spread over trainings is hardly known; look at each seed")
        if self.n_clusters < FEW_CLUSTERS:
            of = " of prompts" if self.n_clusters < self.n_prompts else ""
            found.append(f"{self.count_words(self.n_clusters)}{of}: too few to say much of others")
        return tuple(found)

    @property
    def fewest(self) -> int:
        """Clusters from which on an interval of this level can be had without any assumption of shape: with fewer,
        all of them lie on one side of the middle more often than the level allows.
        """
        return math.ceil(1 - math.log2(1 - self.settings.level))

    def count_clusters(self, judged: BoolArray) -> int:
        """Clusters with a prompt that some seed has a figure for, ``(seeds, p)``."""
        return len(np.unique(self.clusters[np.any(judged, axis=0)]))

    def count_words(self, n: int) -> str:
        """So many clusters in words."""
        one, many = ("category", "categories") if self.n_clusters < self.n_prompts else ("prompt", "prompts")
        return f"{n} {one if n == 1 else many}"

    def sum_clusters(self, values: FloatArray) -> FloatArray:
        """Sum over the prompts of each cluster: ``(..., p)`` to ``(..., k)``."""
        order = np.argsort(self.clusters, kind="stable")
        starts = np.searchsorted(self.clusters[order], np.arange(self.n_clusters))
        return np.asarray(np.add.reduceat(values[..., order], starts, axis=-1))

    def draw(self, statistic: Statistic, cells: int = 0, stretch: bool = True) -> Drawn:
        """Values of a statistic, and their draws, stretched about them for few seeds.

        Parameters
        ----------
        statistic
            See ``Statistic``.
        cells
            Numbers the statistic holds for one draw; keeps memory flat.
        stretch
            Whether to stretch; the statistic must then be a smooth function of the weights.
        """
        seeds, clusters = (np.ones((1, n)) for n in (self.n_seeds, self.n_clusters))
        values = statistic(seeds, clusters)[0]
        parts = [statistic(*weights) for weights in self._weights(cells)]
        draws = np.concatenate(parts) if parts else np.empty((0, len(values)))
        if not (stretch and len(draws)):
            return Drawn(values, draws)
        return Drawn(values, self._stretch(statistic, values, draws))

    def _weights(self, cells: int) -> Any:
        """Chunks of draws of both levels; their streams are independent."""
        states = np.random.SeedSequence(self.settings.seed).generate_state(2).tolist()
        rows = max(cells, self.n_seeds, self.n_clusters)
        return zip(
            *(
                draw_weights(n, self.settings.model_copy(update={"seed": state}), rows)
                for n, state in zip((self.n_seeds, self.n_clusters), states, strict=True)
            ),
            strict=True,
        )

    def _stretch(self, statistic: Statistic, values: FloatArray, draws: FloatArray) -> FloatArray:
        """Spread draws about their value until they cover what few seeds leave open.

        Few seeds drawn with replacement vary too little, and their spread is itself uncertain. The variance of
        each level is taken by the jackknife, and the quantile from Student's t with the degrees of freedom that
        Satterthwaite gives the sum; draws are only ever spread, never drawn together.

        References
        ----------
        Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 11; Satterthwaite, An approximate
        distribution of estimates of variance components, Biometrics Bull. 2, 1946.
        """
        by_level = [
            (self._jackknife(statistic, values, level), n - 1)
            for level, n in enumerate((self.n_seeds, self.n_clusters))
            if n > 1
        ]
        if not by_level:
            return draws
        variance = np.sum([one for one, _ in by_level], axis=0)
        spread = np.sum([one**2 / freedom for one, freedom in by_level], axis=0)
        freedom = np.where(spread > 0, variance**2 / np.where(spread > 0, spread, 1), 1e6)
        finite = np.where(np.isfinite(draws), draws, np.nan)
        drawn = np.array([np.nanstd(one) if np.isfinite(one).any() else 0.0 for one in finite.T])
        tail = (1 + self.settings.level) / 2
        wanted = stats.t.ppf(tail, np.maximum(freedom, 1)) / stats.norm.ppf(tail) * np.sqrt(variance)
        factor = np.where(drawn > 0, np.maximum(1, wanted / np.where(drawn > 0, drawn, 1)), 1)
        is_finite = np.isfinite(draws) & np.isfinite(values)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(is_finite, values + factor * (draws - values), draws))

    def _jackknife(self, statistic: Statistic, values: FloatArray, level: int) -> FloatArray:
        """Variance ``(m,)`` from leaving out one seed, or one cluster, at a time."""
        n = (self.n_seeds, self.n_clusters)[level]
        parts = []
        for start in range(0, n, 64):
            left_out = np.arange(start, min(start + 64, n))
            weights = [np.ones((len(left_out), size)) for size in (self.n_seeds, self.n_clusters)]
            weights[level][np.arange(len(left_out)), left_out] = 0
            parts.append(statistic(*weights))
        found = np.concatenate(parts)
        centre = np.where(np.isfinite(values), values, 0)
        found = np.where(np.isfinite(found), found, centre)
        return np.asarray((n - 1) / n * ((found - found.mean(axis=0)) ** 2).sum(axis=0))

    def interval(self, draws: FloatArray) -> Interval:
        """Percentile interval of the draws of one statistic, or the reason why there is none."""
        return percentile_interval(draws, self.settings.level, self.n_clusters)


def two_sided_p(draws: FloatArray, null: float = 0.0, n_clusters: int | None = None) -> float | None:
    """How rarely draws lie on the other side of ``null``, doubled; never below 2 / (draws + 1).

    It is below 1 - level where the percentile interval leaves out the null. None without a defined draw.

    Parameters
    ----------
    draws
        Of the difference.
    null
        The difference that is asked about.
    n_clusters
        Clusters drawn from: by chance all of ``k`` differ in one direction with probability 2^(1 - k), and p is
        never below that, however many draws there are.

    References
    ----------
    Davison and Hinkley, Bootstrap methods and their application, 1997, section 4.4.
    """
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return None
    below, above = int((kept <= null).sum()), int((kept >= null).sum())
    floor = 0.0 if n_clusters is None else 2.0 ** (1 - n_clusters)
    return min(1.0, max(floor, 2 * (1 + min(below, above)) / (len(kept) + 1)))


def two_level_settings(options: Any, caller: str) -> Bootstrap:
    """Options of a bootstrap with 2,000 draws where nothing else is asked for.

    Raises
    ------
    ConfigError
        An option is unknown or out of bounds; the message names it.
    """
    return bootstrap_settings({"draws": DRAWS} | options, caller)


def as_cells(values: ArrayLike, what: str, lowest: float = 0.0) -> FloatArray:
    """Bring values into the shape ``(seeds, steps, prompts)``; NaN marks what was not judged.

    Raises
    ------
    DataError
        The shape is neither (seeds, prompts) nor (seeds, steps, prompts), or a value lies outside its bounds.
    EmptyDataError
        There is no seed, step or prompt.
    """
    found: FloatArray = np.asarray(values, dtype=np.float64)
    if found.ndim == 2:
        found = found[:, None, :]
    if found.ndim != 3:
        raise DataError(f"{what} have shape {found.shape}; pass (seeds, prompts) or (seeds, steps, prompts)")
    if not found.size:
        raise EmptyDataError(f"{what} have shape {found.shape}: no response in them; pass at least one")
    known = found[~np.isnan(found)]
    if len(known) and (known.min() < lowest or known.max() > 1):
        raise DataError(
            f"{what} hold {known.min():g} to {known.max():g}, wanted {lowest:g} to 1; pass 1 where a response "
            "counts, 0 where not, NaN where it was not judged"
        )
    return found
