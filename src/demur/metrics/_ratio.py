"""A mean, a share or any other ratio of sums over rows, with its cluster-bootstrap interval."""

from __future__ import annotations

import numpy as np

from demur.metrics._bootstrap import Bootstrap, bootstrap, percentile_interval, wilson_interval
from demur.metrics._evaluate import Estimate
from demur.metrics._inputs import FloatArray, IntArray


def estimate_ratio(top: FloatArray, bottom: FloatArray, groups: IntArray, settings: Bootstrap) -> Estimate:
    """Sum of ``top`` by sum of ``bottom``: a mean where ``bottom`` is 1, a share of some rows where it marks them.

    A share of exactly 0 or 1 has Wilson's interval over its groups, since every bootstrap draw repeats it.

    Parameters
    ----------
    top, bottom
        Finite, ``(n,)``; ``bottom`` is 0 or more.
    groups
        Group numbers ``0..g-1``, ``(n,)``; whole groups are drawn.
    settings
        Draws, level and seed.
    """
    n = int(np.count_nonzero(bottom))
    if not n:
        return Estimate(None, None, None, 0, "no row to take it of")
    count = int(groups.max()) + 1
    sums = np.stack([np.bincount(groups, part, minlength=count) for part in (top, bottom)], axis=1)  # (g, 2)
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    is_share = bool(((top >= 0) & (top <= bottom)).all())
    if is_share and value in (0.0, 1.0):
        held = int(np.count_nonzero(sums[:, 1]))
        low, high = wilson_interval(value * held, held, settings.level)
        return Estimate(value, low, high, n, f"Wilson's interval over {held} groups")

    def ratio(weights: FloatArray) -> dict[str, FloatArray]:
        tops, bottoms = (weights @ sums).T
        return {"value": np.where(bottoms == 0, np.nan, tops / np.where(bottoms == 0, 1, bottoms))}

    draws = bootstrap(ratio, count, settings).get("value", np.empty(0))
    low, high, reason = percentile_interval(draws, settings.level, count)
    return Estimate(value, low, high, n, reason)
