"""The smallest difference of two models that the rows at hand would show, if it were there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from demur.analysis._config import AnalysisConfig
from demur.analysis._pairs import Pair

SMALL_DIFFERENCE = 0.02
"""A difference people ask about: how many rows it would take to see it."""


@dataclass(frozen=True)
class Detectable:
    """Smallest detectable differences over the pairs of one protocol and figure."""

    metric: str
    n: int
    groups: int
    pairs: int
    median: float
    smallest: float
    largest: float
    rows_for_small: int
    """Rows, of groups like these, at which the median pair would show a difference of 0.02."""


def smallest_detectable(standard_error: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Difference that a two-sided test at ``alpha`` finds with that power: ``(z(1-α/2) + z(power)) · SE``.

    Parameters
    ----------
    standard_error
        Of the paired difference.
    alpha, power
        Level of the test, and the chance of finding a difference that is there.

    References
    ----------
    Card et al., With little power comes great responsibility, EMNLP 2020, on why to say so.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * standard_error


def detectable_differences(pairs: Sequence[Pair], config: AnalysisConfig) -> dict[str, Detectable]:
    """Smallest detectable difference of each figure, of a single test without correction for many pairs."""
    found = {}
    for metric in config.metrics:
        errors = [(pair, pair.metrics[metric].standard_error) for pair in pairs]
        values = [
            (smallest_detectable(error, config.alpha, config.power), pair) for pair, error in errors if error
        ]
        if not values:
            continue
        sizes = [size for size, _ in values]
        typical, rows = median(sizes), values[0][1]
        found[metric] = Detectable(
            metric=metric,
            n=rows.n,
            groups=rows.groups,
            pairs=len(values),
            median=typical,
            smallest=min(sizes),
            largest=max(sizes),
            rows_for_small=round(rows.n * (typical / SMALL_DIFFERENCE) ** 2),
        )
    return found
