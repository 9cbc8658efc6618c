"""The tests of an experiment: what compares each challenger with the champion, and what watches over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demur.metrics import SequentialDifference, SequentialMean, SequentialResult
from demur.serve.experiments._config import CHAMPION, ExperimentConfig, GuardConfig
from demur.serve.experiments._metrics import STEPS_OF_TIME

_P95 = 0.05
"""Share of times that may lie above a bound of the 95th percentile."""


@dataclass
class Comparison:
    """A test of a challenger against the champion, by one metric; what is added waits for :meth:`flush`."""

    metric: str
    test: SequentialDifference
    is_paired: bool
    _waiting: list[tuple[Any, float]] = field(default_factory=list)

    def add(self, arm: int, value: float) -> None:
        """Take what the champion (0) or the challenger (1) is worth."""
        self._waiting.append((arm, min(value, self.test.span[1])))

    def add_pair(self, first: float, second: float) -> None:
        """Take what both are worth for the very same item."""
        cap = self.test.span[1]
        self._waiting.append((min(first, cap), min(second, cap)))

    def flush(self) -> None:
        """Let the test have what waits, in order."""
        (self.test.add_pairs if self.is_paired else self.test.add_many)(self._waiting)
        self._waiting = []


@dataclass
class Bound:
    """A test of a challenger's own rate against a bound; what is added waits for :meth:`flush`."""

    guard: GuardConfig
    test: SequentialMean
    _waiting: list[float] = field(default_factory=list)

    def add(self, values: Mapping[str, float]) -> None:
        """Take what a row is worth by each metric, if that of the guard is among them."""
        if self.guard.metric != "latency_p95_ms":
            value = values.get(self.guard.metric)
        elif "latency_ms" in values:
            assert self.guard.at_most is not None
            value = float(values["latency_ms"] > self.guard.at_most)
        else:
            value = None
        if value is not None:
            self._waiting.append(value)

    def flush(self) -> None:
        """Let the test have what waits, in order."""
        self.test.add_many(self._waiting)
        self._waiting = []


def new_comparison(
    config: ExperimentConfig, arm: str, weights: Mapping[str, float], *, is_paired: bool
) -> Comparison:
    """The test that an experiment is decided by; challengers share its level (Bonferroni)."""
    span, steps = metric_span(config, config.metric)
    level = 1 - (1 - config.level) / len(config.challengers)
    test = SequentialDifference((weights[CHAMPION], weights[arm]), span, steps, level=level)
    return Comparison(config.metric, test, is_paired)


def new_guard(
    config: ExperimentConfig, guard: GuardConfig, arm: str, weights: Mapping[str, float], *, is_paired: bool
) -> Bound | Comparison:
    """The test of one guard rail for one challenger: one-sided, since only excess does harm.

    A bound of the 95th percentile of latency is one of the share of times above it: at most 5 %. That is the test
    that a confidence sequence of the percentile makes at this very point (Howard and Ramdas, Bernoulli 28(3),
    2022, section 3); it needs no cap on times and no bound on their tail, which a mean would.
    """
    level = 1 - guard.alpha / len(config.challengers)
    if guard.at_most is None:
        pair = (weights[CHAMPION], weights[arm])
        return Comparison(guard.metric, SequentialDifference(pair, side="greater", level=level), is_paired)
    bound = _P95 if guard.metric == "latency_p95_ms" else guard.at_most
    return Bound(guard, SequentialMean(bound, side="greater", level=level))


def metric_span(config: ExperimentConfig, metric: str) -> tuple[tuple[float, float], int]:
    """Range of a metric and the steps it is counted in."""
    if metric == "latency_ms":
        return (0.0, config.latency_cap_ms), STEPS_OF_TIME
    return (0.0, 1.0), 1


def is_breached(guard: GuardConfig, test: Bound | Comparison) -> bool:
    """Whether a challenger was shown to pass the bound."""
    found: SequentialResult = test.test.result()
    if isinstance(test, Bound):
        return found.is_rejected
    assert guard.above_champion is not None
    return found.low > guard.above_champion


def restore_tests(tests: Sequence[Bound | Comparison], states: Sequence[Mapping[str, Any]]) -> None:
    """Bring tests to the states they were written in."""
    for test, state in zip(tests, states, strict=True):
        if isinstance(test, Bound):
            test.test = SequentialMean.from_json(state)
        else:
            test.test = SequentialDifference.from_json(state)
