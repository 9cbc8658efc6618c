"""Traffic, labels and latency as charts and headline figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demur.serve.dashboard._chart import (
    Chart,
    Series,
    Values,
    bar_path,
    line_path,
    nice_top,
    stack_paths,
    tick_marks,
)
from demur.serve.dashboard._words import MISSING, milliseconds, share

if TYPE_CHECKING:
    from demur.serve.dashboard._gather import Snapshot
    from demur.store import StepSummary
    from demur.tasks import Task

_COOL, _WARM = ("s1", "s2", "s3"), ("s6", "s5", "s7")
_OTHERS = ("s1", "s2", "s3", "s5", "s6", "s7", "s4")
_MOST_LABELS = 7
OTHER = "other labels"


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    name: str
    value: str
    note: str = ""
    is_bad: bool = False


@dataclass(frozen=True)
class TaskCharts:
    """What is drawn of a task."""

    name: str
    labels: Chart | None
    latency: Chart | None
    is_sampled: bool
    """Whether labels and latency are of a part of the answers."""


def number(value: float | None) -> str:
    """A whole number in groups of three."""
    return MISSING if value is None else f"{value:,.0f}".replace(",", "\u202f")


def rate(value: float) -> str:
    """A number a second or minute, with as many decimals as its size bears."""
    return number(value) if value >= 10 or value == int(value) else f"{value:.1f}"


def make_tiles(found: Snapshot) -> list[Tile]:
    """The headline figures of a stretch of time; a step counts by its rows, however few of them were read."""
    steps = [step for rows in found.tasks.values() for step in rows]
    answers = sum(one.weight * one.answers for one in steps)
    flagged, unsure = (sum(one.weight * getattr(one, name) for one in steps) for name in ("flagged", "unsure"))
    requests, errors = sum(one.requests for one in found.traffic), sum(one.errors for one in found.traffic)
    slowest = [one.latency_ms[95] for one in steps if one.latency_ms]
    judged = sum(one.rows for one in steps)
    tiles = []
    if requests:
        failed = errors / requests
        seconds = found.span.step.total_seconds() * found.span.count
        tiles.append(Tile("Requests", number(requests), f"{rate(requests / seconds * 60)} a minute"))
        tiles.append(Tile("Failed", share(failed, 2), f"{number(errors)} of them", is_bad=failed > 0.01))
    tiles.append(Tile("Judgements", number(judged), "one a task and item"))
    tiles.append(Tile("Flagged", share(flagged / answers if answers else None)))
    tiles.append(Tile("Unsure", share(unsure / answers if answers else None)))
    middle = sorted(slowest)[len(slowest) // 2] if slowest else None
    tiles.append(Tile("Latency p95", milliseconds(middle), "median of steps"))
    tiles.append(Tile("Feedback", number(found.feedback), "labels given"))
    return tiles


def chart_traffic(found: Snapshot) -> Chart | None:
    """Requests as the workers counted them, failed ones apart; judgements where nobody counts requests."""
    marks, span = make_marks(found), found.span
    requests = [float(one.requests) for one in found.traffic]
    if any(requests):
        errors = [float(one.errors) for one in found.traffic]
        good = [all_ - bad for all_, bad in zip(requests, errors, strict=True)]
        top = nice_top(requests, 4)
        paths = stack_paths([good, errors], top)
        series = [
            Series("answered", "s1", good, [number(one) for one in good], paths[0]),
            Series("failed", "bad", errors, [number(one) for one in errors], paths[1]),
        ]
        total, failed = sum(requests), sum(errors)
        summary = f"{number(total)} requests, {number(failed)} of them failed; {_peak(requests, marks)}."
        title = f"Requests in steps of {span.step_words}"
    else:
        judged = [float(sum(rows[place].rows for rows in _of(found))) for place in range(span.count)]
        if not any(judged):
            return None
        top = nice_top(judged, 4)
        series = [Series("judgements", "s1", judged, [number(one) for one in judged], bar_path(judged, top))]
        summary = f"{number(sum(judged))} judgements; {_peak(judged, marks)}."
        title = f"Judgements in steps of {span.step_words}"
    return Chart(title, "bars", summary, series, marks, number(top), rate(top / 2), tick_marks(marks))


def chart_task(found: Snapshot, name: str, task: Task | None) -> TaskCharts:
    """Label shares and latency of a task over time; None for what has no figures."""
    steps = found.tasks[name]
    is_sampled = any(one.rows > one.sampled for one in steps)
    if not any(one.answers for one in steps):
        return TaskCharts(name, None, None, is_sampled)
    return TaskCharts(name, _chart_labels(found, steps, task), _chart_latency(found, steps), is_sampled)


def _chart_labels(found: Snapshot, steps: Sequence[StepSummary], task: Task | None) -> Chart:
    totals: dict[str, float] = {}
    for step in steps:
        for label, count in step.labels.items():
            totals[label] = totals.get(label, 0) + step.weight * count
    labels, marks = _order(totals, task), make_marks(found)
    styles = _styles(labels, task)
    kept = [label for label in labels if label != OTHER]
    shares: list[list[float | None]] = []
    for label in labels:
        counts = [
            sum(n for one, n in step.labels.items() if one not in kept)
            if label == OTHER
            else step.labels.get(label, 0)
            for step in steps
        ]
        shares.append(
            [count / step.answers if step.answers else None for count, step in zip(counts, steps, strict=True)]
        )
    answers = sum(totals.values())
    of_all = {
        label: sum(n for one, n in totals.items() if one not in kept) if label == OTHER else totals.get(label, 0)
        for label in labels
    }
    series = [
        Series(label, styles[label], row, [share(one) for one in row], path)
        for label, row, path in zip(labels, shares, stack_paths(shares, 1.0), strict=True)
    ]
    summary = "Over all steps: " + ", ".join(f"{one} {share(of_all[one] / answers)}" for one in labels) + "."
    return Chart("Label shares", "stack", summary, series, marks, "100 %", "50 %", tick_marks(marks))


def _chart_latency(found: Snapshot, steps: Sequence[StepSummary]) -> Chart:
    marks = make_marks(found)
    rows: Mapping[int, Values] = {
        percent: [one.latency_ms.get(percent) for one in steps] for percent in (50, 95, 99)
    }
    top = nice_top(rows[99], 1)
    series = [
        Series(
            f"p{percent}",
            style,
            rows[percent],
            [milliseconds(one) for one in rows[percent]],
            line_path(rows[percent], top),
        )
        for percent, style in ((50, "s1"), (95, "s6"), (99, "s7"))
    ]
    last = next(one for one in reversed(steps) if one.latency_ms).latency_ms
    summary = f"Last step with answers: half took at most {milliseconds(last[50])}, 95 % at most "
    summary += f"{milliseconds(last[95])}, 99 % at most {milliseconds(last[99])}."
    words = milliseconds(top), milliseconds(top / 2)
    return Chart("Time to answer", "lines", summary, series, marks, *words, tick_marks(marks))


def make_marks(found: Snapshot) -> list[str]:
    """What each step is called: when it begins, in UTC."""
    return [start.strftime(found.span.clock) for start, _ in found.steps]


def _of(found: Snapshot) -> list[list[StepSummary]]:
    return [rows for rows in found.tasks.values() if rows]


def _order(totals: Mapping[str, float], task: Task | None) -> list[str]:
    """Threats first, since what stands on the ground is compared best, and what is safe last of the task's labels.

    Labels that the task does not know follow, the frequent ones first; beyond seven they are one.
    """
    known = [] if task is None else sorted(task.labels, key=lambda label: _rank(label, task))
    others = sorted((one for one in totals if one not in known), key=lambda one: (-totals[one], one))
    labels = [*known, *others]
    return labels if len(labels) <= _MOST_LABELS else [*labels[: _MOST_LABELS - 1], OTHER]


def _styles(labels: Sequence[str], task: Task | None) -> dict[str, str]:
    """Cool colours for what is safe and warm ones for threats, where the task says which is which."""
    if task is None or not task.threat_labels:
        return dict(zip(labels, _OTHERS, strict=False))
    cool, warm = iter(_COOL), iter(_WARM)
    is_warm = {label: _rank(label, task) < 2 and label in task.labels for label in labels}
    return {label: next(warm if is_warm[label] else cool, "s4") for label in labels}


def _rank(label: str, task: Task) -> int:
    """0 for a threat, 2 for what is safe, 1 for what lies between where the task says what is safe."""
    if label in task.threat_labels:
        return 0
    return 1 if task.safe and label not in task.safe else 2


def _peak(values: Sequence[float], marks: Sequence[str]) -> str:
    place = max(range(len(values)), key=lambda one: values[one])
    return f"most in one step: {number(values[place])}, at {marks[place]}"
