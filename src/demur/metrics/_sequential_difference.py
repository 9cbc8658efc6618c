"""Always-valid comparison of two arms: of independent streams with uneven weights, or of pairs.

The observations of two arms are brought together in blocks, so many of one with so many of the other, in the order
in which they came. What a block is depends on the weights and on whose turn it was, never on what was observed, so
the difference of its two means has the true difference as its mean, whatever came before, and
:class:`SequentialMean` does the rest. A base rate that drifts touches both sides of a block alike. The only loss
is what waits for its block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Self

from demur.errors import DataError
from demur.metrics._sequential import SequentialMean, SequentialResult
from demur.metrics._sequential_capital import Side

_GRID = 2520
"""A multiple of every block size there is, so that means of blocks are counted without rounding."""
_LARGEST, _MOST = 10, 20
_MOST_WAITING = 1000
"""Observations of an arm that wait for the other; of more the oldest are let go, whatever they were."""


def block_sizes(weights: tuple[float, float]) -> tuple[int, int]:
    """How many observations of each arm make a block: the small whole numbers nearest to the ratio of the weights.

    Beyond 20 to 1 a block stays at 20: a larger one would narrow its difference by less than 5 %.

    Raises
    ------
    DataError
        A weight is not above 0; an arm that gets no traffic cannot be compared.
    """
    first, second = weights
    if not (first > 0 and second > 0):
        raise DataError(f"weights {first} and {second} must be above 0; an arm without traffic cannot be compared")
    ratio = Fraction(min(first, second) / max(first, second)).limit_denominator(_LARGEST)
    if ratio == 0 or min(first, second) / max(first, second) < 1 / (_LARGEST + 5):
        ratio = Fraction(1, _MOST)
    small, large = ratio.numerator, ratio.denominator
    return (large, small) if first >= second else (small, large)


class SequentialDifference:
    """An always-valid test of the difference of two means: arm 1 less arm 0.

    Parameters
    ----------
    weights
        Shares of the traffic of arms 0 and 1; they set the blocks and may be changed later by :meth:`set_weights`.
    span
        Smallest and largest value of an observation; 0 and 1 for outcomes.
    steps
        Observations are rounded to a grid of so many steps over the span.
    side, level
        As for :class:`SequentialMean`: ``less`` asks whether arm 1 has the lower mean.

    Raises
    ------
    DataError
        A setting is off; the message says which.

    Notes
    -----
    Valid for independent observations, of each arm with one mean, or with a mean that drifts for both arms by the
    same amount. Observations of an arm that is ahead wait in order, at most 1,000 of them.

    References
    ----------
    Turner, Ly and Grünwald, Generic E-variables for exact sequential k-sample tests that allow for optional
    stopping, J. Stat. Plan. Inference 230, 2024, section 2, for blocks of two streams; the bets on a block are
    those of Waudby-Smith and Ramdas (see :class:`SequentialMean`). Of pairs with outcomes 0 and 1, only discordant
    ones move the capital against no difference, as in McNemar, Psychometrika 12, 1947.

    Examples
    --------
    >>> test = SequentialDifference()
    >>> for _ in range(40):
    ...     test.add_pair(1, 0)
    >>> test.result().high < 0
    True
    """

    def __init__(
        self,
        weights: tuple[float, float] = (0.5, 0.5),
        span: tuple[float, float] = (0.0, 1.0),
        steps: int = 1,
        side: Side = "two-sided",
        level: float = 0.95,
    ) -> None:
        width = float(span[1]) - float(span[0])
        self.span, self.steps = (float(span[0]), float(span[1])), int(steps)
        self._mean = SequentialMean(0.0, (-width, width), 2 * _GRID * self.steps, side, level)
        self._sizes = block_sizes(weights)
        self._waiting: tuple[list[int], list[int]] = ([], [])
        self.counts, self._sums = [0, 0], [0, 0]

    def set_weights(self, weights: tuple[float, float]) -> None:
        """Take other weights for the blocks to come.

        Raises
        ------
        DataError
            A weight is not above 0; stop the test instead.
        """
        self._sizes = block_sizes(weights)

    def add(self, arm: int, value: float) -> None:
        """Take an observation of arm 0 or 1.

        Raises
        ------
        DataError
            It is outside the span, or there is no such arm; clip it, or give 0 or 1.
        """
        self.add_many(((arm, value),))

    def add_many(self, observations: Iterable[tuple[int, float]]) -> None:
        """Take observations ``(arm, value)`` in the order in which they came; the same as adding them one by one.

        Raises
        ------
        DataError
            One is outside the span, or there is no such arm; clip it, or give 0 or 1. None is taken then.
        """
        ids = [(self._arm(arm), self._id(value)) for arm, value in observations]
        blocks = []
        for arm, one in ids:
            self._tally(arm, one)
            self._waiting[arm].append(one)
            del self._waiting[arm][:-_MOST_WAITING]
            if all(len(kept) >= size for kept, size in zip(self._waiting, self._sizes, strict=True)):
                blocks.append(self._close())
        self._mean.add_many(blocks)

    def add_pair(self, first: float, second: float) -> None:
        """Take what arms 0 and 1 gave for the very same thing.

        Raises
        ------
        DataError
            One is outside the span; clip it.
        """
        self.add_pairs(((first, second),))

    def add_pairs(self, pairs: Iterable[tuple[float, float]]) -> None:
        """Take pairs in this order; the same as adding them one by one.

        Raises
        ------
        DataError
            A value is outside the span; clip it. None is taken then.
        """
        ids = [(self._id(first), self._id(second)) for first, second in pairs]
        for pair in ids:
            for arm, one in enumerate(pair):
                self._tally(arm, one)
        width = self.span[1] - self.span[0]
        self._mean.add_many([(second - first) / self.steps * width for first, second in ids])

    def _arm(self, arm: int) -> int:
        if arm not in (0, 1):
            raise DataError(f"no arm {arm}; give 0 or 1")
        return arm

    def _id(self, value: float) -> int:
        low, high = self.span
        if not low - 1e-9 <= value <= high + 1e-9:
            raise DataError(f"an observation of {value} is outside {low} to {high}; clip it or widen the span")
        return round((value - low) / (high - low) * self.steps)

    def _tally(self, arm: int, one: int) -> None:
        self.counts[arm] += 1
        self._sums[arm] += one

    def _close(self) -> float:
        """The oldest observations that make a block, taken out, and the difference of their means."""
        means = []
        for kept, size in zip(self._waiting, self._sizes, strict=True):
            means.append(sum(kept[:size]) / size)
            del kept[:size]
        return (means[1] - means[0]) / self.steps * (self.span[1] - self.span[0])

    @property
    def waiting(self) -> tuple[int, int]:
        """Observations of each arm that wait for their block."""
        return len(self._waiting[0]), len(self._waiting[1])

    @property
    def means(self) -> tuple[float | None, float | None]:
        """Mean of each arm over all that was observed, waiting or not; None where nothing was."""
        low, high = self.span
        first, second = (
            low + (high - low) * total / self.steps / count if count else None
            for total, count in zip(self._sums, self.counts, strict=True)
        )
        return first, second

    def result(self) -> SequentialResult:
        """What the test says now of arm 1 less arm 0; ``n`` counts blocks."""
        return self._mean.result()

    def to_json(self) -> dict[str, Any]:
        """Everything there is to know, as plain values that :meth:`from_json` reads."""
        return {
            "span": list(self.span),
            "steps": self.steps,
            "sizes": list(self._sizes),
            "waiting": [list(kept) for kept in self._waiting],
            "counts": list(self.counts),
            "sums": list(self._sums),
            "mean": self._mean.to_json(),
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
            made = cls(span=(state["span"][0], state["span"][1]), steps=state["steps"])
            made._mean = SequentialMean.from_json(state["mean"])
            made._sizes = (int(state["sizes"][0]), int(state["sizes"][1]))
            made._waiting = ([int(one) for one in state["waiting"][0]], [int(one) for one in state["waiting"][1]])
            made.counts = [int(one) for one in state["counts"]]
            made._sums = [int(one) for one in state["sums"]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"this is no state of a sequential test ({error}); start the test anew") from None
        return made
