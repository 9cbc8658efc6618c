"""Holm's correction: p-values of a family of tests, adjusted so that any false alarm is as rare as alpha."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values in the order given; compare them with alpha.

    Parameters
    ----------
    p_values
        One for each test of the family; None where a test could not be had, which then is not of the family.

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979.
    """
    there = [place for place, p in enumerate(p_values) if p is not None]
    values = np.array([p_values[place] for place in there], dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * (len(values) - np.arange(len(values)))
    adjusted: list[float | None] = [None] * len(p_values)
    for rank, value in enumerate(np.minimum(np.maximum.accumulate(steps), 1.0) if len(values) else ()):
        adjusted[there[int(order[rank])]] = float(value)
    return adjusted
