"""How C50 grows with the size of the model and the rank of the attack: a line in logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from demur.errors import DataError, EmptyDataError
from demur.metrics._evaluate import Estimate
from demur.metrics._inputs import FloatArray

FEW_SIZES = 5
"""Fewer sizes of model show a trend at best."""


@dataclass(frozen=True)
class ScalingPoint:
    """C50 of one cell.

    Parameters
    ----------
    parameters
        Parameters of the model, above 0.
    rank
        Rank of the attack's adapter, above 0.
    c50
        Budget of half; None where only a bound is known.
    low, high
        Interval of it, for weights; None where there is none.
    """

    parameters: float
    rank: float
    c50: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ScalingFit:
    """log10 C50 = intercept + size * log10 N + rank * log10 r."""

    intercept: Estimate
    size: Estimate
    """Exponent of the number of parameters."""
    rank: Estimate
    """Exponent of the adapter's rank."""
    residual_sd: float | None
    """Of log10 C50; None where no point is left to tell it by."""
    r_squared: float | None
    n: int
    """Points fitted."""
    n_left_out: int
    """Points whose C50 is only a bound."""
    is_weighted: bool
    is_trend_only: bool
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def scaling_fit(points: Sequence[ScalingPoint], weighted: bool = False, level: float = 0.95) -> ScalingFit:
    """Fit log10 C50 = a + b log10 N + c log10 r by least squares, with Student's intervals.

    A term whose quantity takes one value only is left out. Cells with a bound in place of a C50 cannot enter, and
    the slopes are then those of the cells that broke; a warning says so.

    Parameters
    ----------
    points
        One for each cell.
    weighted
        Weigh each point by the inverse square of the width of its interval, in logarithms.
    level
        Share the intervals should cover.

    Raises
    ------
    EmptyDataError
        Fewer than two points have a C50; tamper with more models.
    DataError
        A number is not above 0, or weights are asked for and a point has no closed interval.

    References
    ----------
    Draper and Smith, Applied regression analysis, 3rd ed., 1998, sections 5.1 and 9.2.
    """
    kept = [point for point in points if point.c50 is not None]
    if len(kept) < 2:
        raise EmptyDataError(
            f"{len(kept)} of {len(points)} cells have a C50; a line needs two: tamper with more models"
        )
    _check(kept)
    sizes, ranks, found = (
        np.log10([getattr(point, name) for point in kept]) for name in ("parameters", "rank", "c50")
    )
    varies = {"size": len(np.unique(sizes)) > 1, "rank": len(np.unique(ranks)) > 1}
    names = ["intercept", *(name for name, is_free in varies.items() if is_free)]
    columns = {"intercept": np.ones(len(kept)), "size": sizes, "rank": ranks}
    design = np.stack([columns[name] for name in names], axis=1)
    if np.linalg.matrix_rank(design) < len(names):
        raise DataError("size and rank rise together in every cell; vary one while the other stays")
    weights = _weights(kept) if weighted else np.ones(len(kept))
    fitted, residual_sd, r_squared = _least_squares(design, found, weights, level)
    terms = dict(zip(names, fitted, strict=True))
    missing = {
        name: Estimate(None, None, None, len(kept), f"all cells have the same {what}")
        for name, what in (("size", "number of parameters"), ("rank", "rank"))
    }
    n_sizes, left_out = len(np.unique(sizes)), len(points) - len(kept)
    return ScalingFit(
        terms["intercept"],
        terms.get("size", missing["size"]),
        terms.get("rank", missing["rank"]),
        residual_sd,
        r_squared,
        len(kept),
        left_out,
        weighted,
        n_sizes < FEW_SIZES,
        _warnings(n_sizes, left_out),
    )


def _least_squares(
    design: FloatArray, found: FloatArray, weights: FloatArray, level: float
) -> tuple[list[Estimate], float | None, float | None]:
    scale = np.sqrt(weights)
    values = np.linalg.lstsq(design * scale[:, None], found * scale, rcond=None)[0]
    errors = found - design @ values
    n, freedom = len(found), len(found) - design.shape[1]
    lost = float((weights * errors**2).sum())
    mean = np.average(found, weights=weights)
    whole = float((weights * (found - mean) ** 2).sum())
    r_squared = 1 - lost / whole if whole > 0 else None
    if freedom < 1:
        reason = f"no interval: {n} cells for {design.shape[1]} terms leave nothing to tell the error by"
        return [Estimate(float(value), None, None, n, reason) for value in values], None, r_squared
    covariance = np.linalg.inv((design * weights[:, None]).T @ design) * lost / freedom
    half = stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(np.diag(covariance))
    terms = [
        Estimate(float(value), float(value - one), float(value + one), n)
        for value, one in zip(values, half, strict=True)
    ]
    return terms, float(np.sqrt(np.mean(errors**2) * n / freedom)), r_squared


def _check(points: Sequence[ScalingPoint]) -> None:
    for place, point in enumerate(points):
        for name in ("parameters", "rank", "c50"):
            value = getattr(point, name)
            if not (np.isfinite(value) and value > 0):
                raise DataError(f"cell {place + 1} has {name} {value}; pass a number above 0, or None for no C50")


def _weights(points: Sequence[ScalingPoint]) -> FloatArray:
    open_ended = [
        place + 1 for place, one in enumerate(points) if not one.low or not one.high or one.low >= one.high
    ]
    if open_ended:
        raise DataError(
            f"cell {open_ended[0]} has no closed interval to weigh it by; leave it out or pass weighted=False"
        )
    widths = np.array([np.log10(one.high or 1) - np.log10(one.low or 1) for one in points])
    return np.asarray((1 / widths**2) / np.mean(1 / widths**2))


def _warnings(n_sizes: int, left_out: int) -> tuple[str, ...]:
    found = []
    if n_sizes < FEW_SIZES:
        found.append(f"{n_sizes} sizes of model: a trend at best, not a law")
    if left_out:
        found.append(
            f"{left_out} cells have only a bound and are left out: the slopes are those of cells that broke"
        )
    return tuple(found)
