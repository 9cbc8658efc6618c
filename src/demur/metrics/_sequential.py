"""A test of a mean that may be looked at after every observation: e-value, p-value and confidence sequence.

It is for bounded values: outcomes of 0 and 1, shares, clipped times. What it is fed is kept as counts and can be
written as JSON and read again at any point; a test that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, get_args

import numpy as np

from demur.errors import DataError
from demur.metrics._inputs import FloatArray, IntArray
from demur.metrics._sequential_capital import (
    FRACTIONS,
    Side,
    capital_bounds,
    combine_sides,
    log_factors,
    mix_capital,
)

_LARGEST_LOG = 690.0
"""An e-value above this power of e is given as it: what is larger is no number in JSON."""
_GROWTH = 1.05
"""The interval is brought up to date whenever the observations have grown by this."""


@dataclass(frozen=True)
class SequentialResult:
    """What a sequential test says now; every figure may be looked at as often as one likes."""

    estimate: float | None
    """Mean so far; None before the first observation."""
    low: float
    high: float
    """The confidence sequence: the intersection of the intervals so far."""
    e_value: float
    """Evidence against the null now: what one unit bet against it has become."""
    p_value: float
    """One by the largest e-value so far, at most 1."""
    n: int
    """Observations."""
    level: float
    is_consistent: bool = True
    """False once an interval and an earlier one had nothing in common: the mean is not the same throughout."""

    @property
    def is_rejected(self) -> bool:
        """Whether the null was ruled out, now or earlier."""
        return self.p_value <= 1 - self.level + 1e-12

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class SequentialMean:
    """An always-valid test of the mean of bounded values.

    Parameters
    ----------
    null
        The mean that is tested, strictly inside ``span``.
    span
        Smallest and largest value there can be.
    steps
        Values are rounded to a grid of so many steps over the span; 1 for outcomes of 0 and 1. It is the mean of
        the rounded values that is tested.
    side
        The alternative: the mean is ``greater`` than the null, ``less``, or either (``two-sided``). One-sided, the
        interval has one end and the null holds every mean on the other side.
    level
        Chance that no interval ever misses the mean; one minus the chance of ever rejecting a true null.

    Raises
    ------
    DataError
        The null is not inside the span, or a setting is off; give other ones.

    Notes
    -----
    Valid where, whatever came before, the next value has the same mean (one-sided: a mean on the null's side).
    Independent values of one source are; repeated values of one person are not, unless only the first counts.

    References
    ----------
    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, J. R. Statist. Soc. B 86(1),
    2024, section 4; Ramdas, Grünwald, Vovk and Shafer, Game-theoretic statistics and safe anytime-valid inference,
    Stat. Sci. 38(4), 2023, section 2, for e-processes and the p-value that is one by the largest.

    Examples
    --------
    >>> test = SequentialMean(null=0.5)
    >>> test.add_many([1] * 30)
    >>> test.result().is_rejected
    True
    """

    def __init__(
        self,
        null: float,
        span: tuple[float, float] = (0.0, 1.0),
        steps: int = 1,
        side: Side = "two-sided",
        level: float = 0.95,
    ) -> None:
        low, high = float(span[0]), float(span[1])
        if not (math.isfinite(low) and math.isfinite(high) and low < null < high):
            raise DataError(
                f"the null {null} must lie strictly between {low} and {high}; give another span or null"
            )
        if side not in get_args(Side):
            raise DataError(f"no side '{side}'; give one of {', '.join(get_args(Side))}")
        if not 0 < level < 1 or steps < 1:
            raise DataError(f"level {level} must lie between 0 and 1 and steps {steps} be 1 or more; correct them")
        self.null, self.span, self.steps, self.side, self.level = float(null), (low, high), int(steps), side, level
        self.n = 0
        self._counts: dict[int, int] = {}
        self._up = np.zeros(len(FRACTIONS))
        self._down = np.zeros(len(FRACTIONS))
        self._now = self._peak = float(combine_sides(*(np.zeros(()) if on else None for on in self._sides)))
        self._within = (0.0, 1.0)
        self._due, self._is_consistent = 1, True

    @property
    def _sides(self) -> tuple[bool, bool]:
        return self.side != "less", self.side != "greater"

    def add(self, value: float) -> None:
        """Take one observation.

        Raises
        ------
        DataError
            It is outside the span; clip it or widen the span.
        """
        self.add_many((value,))

    def add_many(self, values: Iterable[float]) -> None:
        """Take observations in this order; the same as adding them one by one.

        Raises
        ------
        DataError
            One is outside the span; clip it or widen the span. None is taken then.
        """
        ids = self._ids(np.fromiter(values, dtype=np.float64))
        start = 0
        while start < len(ids):
            start += self._take(ids[start : start + self._due - self.n])

    def _ids(self, values: FloatArray) -> IntArray:
        low, high = self.span
        off = ~((values >= low - 1e-9) & (values <= high + 1e-9))
        if off.any():
            raise DataError(
                f"an observation of {values[off][0]} is outside {low} to {high}; clip it or widen the span"
            )
        return np.rint((values - low) / (high - low) * self.steps).astype(np.int64)

    def _take(self, ids: IntArray) -> int:
        """Take observations up to the next look at the interval; how many were taken."""
        different, back = np.unique(ids, return_inverse=True)
        points, mean = different / self.steps, self._unit(self.null)
        ups = np.cumsum(np.vstack([self._up, log_factors(points, mean)[back]]), axis=0)[1:]  # (n, f)
        downs = np.cumsum(np.vstack([self._down, log_factors(1 - points, 1 - mean)[back]]), axis=0)[1:]
        has_up, has_down = self._sides
        path = combine_sides(mix_capital(ups) if has_up else None, mix_capital(downs) if has_down else None)
        is_new = self._peak < self._need
        crossed = np.flatnonzero(path >= self._need) if is_new else np.empty(0, dtype=np.int64)
        taken = int(crossed[0]) + 1 if len(crossed) else len(ids)
        for one in ids[:taken].tolist():
            self._counts[one] = self._counts.get(one, 0) + 1
        self._up, self._down = ups[taken - 1], downs[taken - 1]
        self._now, self._peak = float(path[taken - 1]), max(self._peak, float(path[:taken].max()))
        self.n += taken
        if self.n >= self._due or len(crossed):
            self._look()
        return taken

    @property
    def _need(self) -> float:
        return -math.log1p(-self.level)

    def _unit(self, value: float) -> float:
        low, high = self.span
        return (value - low) / (high - low)

    def _look(self) -> None:
        """Bring the interval up to date; when it is looked at depends on the observations alone."""
        ids = sorted(self._counts)
        points = np.asarray(ids, dtype=np.float64) / self.steps
        counts = np.asarray([self._counts[one] for one in ids], dtype=np.float64)
        known = self._within if self._is_consistent else (0.0, 1.0)
        low, high = capital_bounds(points, counts, self.level, self.side, known)
        if low > high:
            low, high = capital_bounds(points, counts, self.level, self.side)
            self._is_consistent = False
        self._within = low, high
        self._due = max(self.n + 1, math.ceil(self.n * _GROWTH))

    def result(self) -> SequentialResult:
        """What the test says now."""
        low, high = self.span
        total = sum(one * count for one, count in self._counts.items())
        return SequentialResult(
            estimate=low + (high - low) * total / self.steps / self.n if self.n else None,
            low=low + (high - low) * self._within[0],
            high=low + (high - low) * self._within[1],
            e_value=math.exp(min(self._now, _LARGEST_LOG)),
            p_value=min(1.0, math.exp(-max(self._peak, -1.0))),
            n=self.n,
            level=self.level,
            is_consistent=self._is_consistent,
        )

    def to_json(self) -> dict[str, Any]:
        """Everything there is to know, as plain values that :meth:`from_json` reads."""
        return {
            "settings": {
                "null": self.null,
                "span": list(self.span),
                "steps": self.steps,
                "side": self.side,
                "level": self.level,
            },
            "counts": {str(one): self._counts[one] for one in sorted(self._counts)},
            "up": self._up.tolist(),
            "down": self._down.tolist(),
            "now": self._now,
            "peak": self._peak,
            "within": list(self._within),
            "due": self._due,
            "is_consistent": self._is_consistent,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The test that :meth:`to_json` wrote.

        Raises
        ------
        DataError
            It is no such state; start the test anew.
        """
        try:
            settings = dict(state["settings"])
            span = (float(settings["span"][0]), float(settings["span"][1]))
            made = cls(settings["null"], span, settings["steps"], settings["side"], settings["level"])
            made._counts = {int(one): int(count) for one, count in state["counts"].items()}
            made.n = sum(made._counts.values())
            made._up = np.asarray(state["up"], dtype=np.float64).reshape(len(FRACTIONS))
            made._down = np.asarray(state["down"], dtype=np.float64).reshape(len(FRACTIONS))
            made._now, made._peak = float(state["now"]), float(state["peak"])
            made._within = (float(state["within"][0]), float(state["within"][1]))
            made._due, made._is_consistent = int(state["due"]), bool(state["is_consistent"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(f"this is no state of a sequential test ({error}); start the test anew") from None
        return made
