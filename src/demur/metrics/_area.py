"""The area under a rate over a logarithmic budget, and runs that stopped at saturation carried forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import DataError
from demur.metrics._bootstrap import BootstrapOptions
from demur.metrics._curves import seeds_and_prompts, step_rates
from demur.metrics._evaluate import Estimate
from demur.metrics._inputs import BoolArray, FloatArray
from demur.metrics._two_level import TwoLevels, as_cells, two_level_settings


def curve_area(
    values: ArrayLike,
    steps: Sequence[float],
    categories: ArrayLike | Sequence[Any] | None = None,
    **options: Unpack[BootstrapOptions],
) -> Estimate:
    """Area under a rate over log2(1 + step), divided by the width: the mean rate over a logarithmic budget.

    Parameters
    ----------
    values
        ``(seeds, steps, prompts)`` as for :func:`two_level_bootstrap`, or paired differences in -1..1.
    steps
        Rising, 0 or more, one for each step of ``values``. The area depends on the first and the last: compare
        runs only over the same ones, with stopped runs carried forward (:func:`carry_forward`).
    categories, **options
        As for :func:`two_level_bootstrap`.

    Raises
    ------
    DataError
        Steps do not rise, are fewer than two, or are not those of the values.
    ConfigError
        An option is unknown or out of bounds.
    """
    cells = as_cells(values, "values", lowest=-1.0)
    places = _log_steps(steps, cells.shape[1])
    judged: BoolArray = np.asarray((~np.isnan(cells)).any(axis=(0, 2)))
    n = int((~np.isnan(cells)).sum())
    if not (judged[0] and judged[-1]):
        return Estimate(None, None, None, n, "no response could be scored at the first or the last step")
    kept, places = cells[:, judged], places[judged]
    widths = np.diff(places) / (places[-1] - places[0])
    weights = (np.append(widths, 0) + np.append(0, widths)) / 2
    levels = TwoLevels(seeds_and_prompts(cells), categories, two_level_settings(options, "curve_area"))
    rates = step_rates(levels, kept)
    drawn = levels.draw(lambda s, c: (rates(s, c) @ weights)[:, None], kept.shape[1] * levels.n_clusters)
    low, high, reason = levels.interval(np.clip(drawn.draws[:, 0], _floor(cells), 1))
    return Estimate(float(drawn.values[0]), low, high, n, reason)


def carry_forward(values: ArrayLike, is_stopped: Sequence[bool] | None = None) -> FloatArray:
    """Fill the steps after a seed's last judged one with that one: a run that was stopped at saturation.

    Without it, the rate of later steps is that of the runs that were not yet saturated. What is filled in no
    model ever gave, and yet it is in the ``n`` of what is reckoned from it.

    Parameters
    ----------
    values
        ``(seeds, steps, prompts)`` as for :func:`two_level_bootstrap`.
    is_stopped
        Whether each seed was stopped at saturation; all were where None. Others ended for another reason, such as
        a training that failed, and nobody knows how they would have gone on.

    Raises
    ------
    DataError
        The shape is another, or a value lies outside 0..1.
    """
    filled = as_cells(values, "values").copy()
    if is_stopped is not None and len(is_stopped) != len(filled):
        raise DataError(f"is_stopped is of {len(is_stopped)} seeds for values of {len(filled)}; pass one for each")
    for place, seed in enumerate(filled):
        if is_stopped is not None and not is_stopped[place]:
            continue
        judged = np.flatnonzero(~np.isnan(seed).all(axis=1))
        if len(judged):
            seed[judged[-1] + 1 :] = seed[judged[-1]]
    return filled


def _floor(cells: FloatArray) -> float:
    """Lowest value a mean of cells may take: 0 of rates, -1 of differences."""
    return -1.0 if bool(np.nanmin(cells) < 0) else 0.0


def _log_steps(steps: Sequence[float], n: int) -> FloatArray:
    found: FloatArray = np.asarray(steps, dtype=np.float64)
    if found.shape != (n,):
        raise DataError(f"there are {len(found)} steps for values of {n}; pass one for each")
    if n < 2 or found[0] < 0 or not bool((np.diff(found) > 0).all()):
        raise DataError(
            "steps must be two or more, rise, and start at 0 or later; sort them and leave out doubles"
        )
    return np.log2(1 + found)
