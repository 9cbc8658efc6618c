"""Confidence sequence of a quantile, such as the 95th percentile of latency, in constant memory.

Values are counted in buckets that grow by 2 %, and every bound is moved to the outer edge of its bucket, so the
interval is a little wide and never wrong for it. To ask whether a percentile passes a stated bound, test the share
of values above that bound with :class:`SequentialMean`: it is the same bet at one point, and needs no buckets.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from demur.errors import DataError
from demur.metrics._sequential_capital import Side, log_capital

_GROWTH = math.log(1.02)
_SMALLEST = 1e-3


class SequentialQuantile:
    """An always-valid interval of a quantile of values of 0 or more.

    Parameters
    ----------
    quantile
        Share of values at or below it, above 0 and below 1.
    level
        Chance that no interval ever misses it.

    Raises
    ------
    DataError
        The quantile or the level is not between 0 and 1; give another one.

    Notes
    -----
    Valid where values are drawn independently from one distribution, whatever it is: ties, gaps and heavy tails do
    no harm. It rules out ``x`` as too low where too few values are at or below ``x`` for a share of ``quantile``.

    References
    ----------
    Howard and Ramdas, Sequential estimation of quantiles with applications to A/B testing and best-arm
    identification, Bernoulli 28(3), 2022, section 3: the sequence for one fixed quantile is that of the mean of
    the indicators at it. The bets are those of :class:`SequentialMean`.
    """

    def __init__(self, quantile: float = 0.95, level: float = 0.95) -> None:
        if not (0 < quantile < 1 and 0 < level < 1):
            raise DataError(f"quantile {quantile} and level {level} must lie between 0 and 1; give other ones")
        self.quantile, self.level, self.n = float(quantile), float(level), 0
        self._counts: dict[int, int] = {}

    def add_many(self, values: Iterable[float]) -> None:
        """Take observations, in any order.

        Raises
        ------
        DataError
            One is below 0 or not finite; drop it. None is taken then.
        """
        found = np.fromiter(values, dtype=np.float64)
        off = ~(np.isfinite(found) & (found >= 0))
        if off.any():
            raise DataError(f"an observation of {found[off][0]} is not 0 or more; drop it")
        buckets = np.ceil(np.log(np.maximum(found, _SMALLEST) / _SMALLEST) / _GROWTH).astype(np.int64)
        for bucket, count in zip(*np.unique(buckets, return_counts=True), strict=True):
            self._counts[int(bucket)] = self._counts.get(int(bucket), 0) + int(count)
        self.n += len(found)

    def interval(self) -> tuple[float, float | None]:
        """Lowest and highest value the quantile may have; None where nothing rules out a large one yet."""
        buckets = sorted(self._counts)
        below = np.cumsum([0] + [self._counts[bucket] for bucket in buckets]).tolist()
        # The more are at or below a value, the less it can be below the quantile, and the more above it.
        kept = bisect.bisect_left(below, True, key=lambda count: not self._is_ruled_out(count, "less"))
        cut = bisect.bisect_left(below, True, key=lambda count: self._is_ruled_out(count, "greater"))
        # ``kept`` values of ``below`` are too few for the quantile to lie before the bucket that follows them.
        low = _edge(buckets[kept - 1] - 1) if 0 < kept <= len(buckets) else 0.0
        return low, (_edge(buckets[cut - 1]) if cut < len(below) else None)

    def _is_ruled_out(self, count: int, side: Side) -> bool:
        """Whether a value with so many observations at or below it cannot be the quantile, and on which side."""
        counts = np.asarray([self.n - count, count], dtype=np.float64)
        capital = float(log_capital(np.asarray([0.0, 1.0]), counts, self.quantile, side)) - math.log(2)
        return capital >= -math.log1p(-self.level)

    def estimate(self) -> float | None:
        """The quantile of what was seen, to 2 %; None before the first observation."""
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= self.quantile * self.n:
                return _edge(bucket)
        return None

    def to_json(self) -> dict[str, Any]:
        """Everything there is to know, as plain values that :meth:`from_json` reads."""
        return {
            "quantile": self.quantile,
            "level": self.level,
            "counts": {str(bucket): self._counts[bucket] for bucket in sorted(self._counts)},
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The sequence that :meth:`to_json` wrote.

        Raises
        ------
        DataError
            It is no such state; start anew.
        """
        try:
            made = cls(state["quantile"], state["level"])
            made._counts = {int(bucket): int(count) for bucket, count in state["counts"].items()}
            made.n = sum(made._counts.values())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"this is no state of a quantile's sequence ({error}); start anew") from None
        return made


def _edge(bucket: int) -> float:
    """The largest value of a bucket."""
    return _SMALLEST * math.exp(bucket * _GROWTH)
