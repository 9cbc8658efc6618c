"""What arms are judged by: for each metric, which rows it takes and what a row is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demur.store import PredictionRow

Value = Callable[["PredictionRow", "str | None", frozenset[str]], "float | None"]
STEPS_OF_TIME = 100
"""Times are rounded to a hundredth of their cap."""


@dataclass(frozen=True)
class Metric:
    """One metric."""

    value: Value
    """Of a row, its true label and the labels that are a threat; None where the row does not count."""
    is_labelled: bool = False
    """Whether it takes feedback."""
    is_better_high: bool = False


def is_flagged(row: PredictionRow, threats: frozenset[str]) -> bool:
    """Whether a row was flagged, by the operating point that was in force, else by its label."""
    return row.label in threats if row.is_flagged is None else row.is_flagged


def _accuracy(row: PredictionRow, truth: str | None, threats: frozenset[str]) -> float | None:
    return None if truth is None else float(row.label == truth)


def _false_alarm(row: PredictionRow, truth: str | None, threats: frozenset[str]) -> float | None:
    return None if truth is None or truth in threats else float(is_flagged(row, threats))


def _missed_threat(row: PredictionRow, truth: str | None, threats: frozenset[str]) -> float | None:
    return None if truth is None or truth not in threats else float(not is_flagged(row, threats))


def _flag(row: PredictionRow, truth: str | None, threats: frozenset[str]) -> float | None:
    return float(is_flagged(row, threats))


def _unsure(row: PredictionRow, truth: str | None, threats: frozenset[str]) -> float | None:
    return None if row.is_unsure is None else float(row.is_unsure)


def _latency(row: PredictionRow, truth: str | None, threats: frozenset[str]) -> float | None:
    return max(0.0, row.latency_ms)


def _error(row: PredictionRow, truth: str | None, threats: frozenset[str]) -> float | None:
    return 0.0  # it was answered; failures are reported apart


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(_accuracy, is_labelled=True, is_better_high=True),
    "error_rate": Metric(_error),
    "false_alarm_rate": Metric(_false_alarm, is_labelled=True),
    "flag_rate": Metric(_flag),
    "latency_ms": Metric(_latency),
    "missed_threat_rate": Metric(_missed_threat, is_labelled=True),
    "unsure_rate": Metric(_unsure),
}
"""Every metric by its name; all but ``latency_ms``, which is a time, are rates of outcomes 0 and 1."""


def is_labelled(name: str) -> bool:
    """Whether a metric, or the metric of a guard rail, takes feedback."""
    return name in METRICS and METRICS[name].is_labelled


def values_of(
    row: PredictionRow, truth: str | None, threats: frozenset[str], *, is_labelled: bool
) -> dict[str, float]:
    """What a row is worth by each metric that takes feedback, or by each that takes none."""
    found = {
        name: metric.value(row, truth, threats)
        for name, metric in METRICS.items()
        if metric.is_labelled == is_labelled
    }
    return {name: value for name, value in found.items() if value is not None}
