"""Experiments: arms with their figures, the interval of each difference with what it says, guard rails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demur.serve.dashboard._answers import number
from demur.serve.dashboard._chart import Interval, make_interval
from demur.serve.dashboard._words import MISSING, milliseconds, plain, share, when

if TYPE_CHECKING:
    from demur.serve.dashboard._gather import Snapshot
    from demur.serve.experiments import ArmView, DifferenceView, ExperimentView

OPEN = ("draft", "shadow", "running")
_STAGES = {
    "draft": "draft: nothing is compared yet",
    "shadow": "shadow: challengers judge, unheard",
    "running": "running: arms answer their share",
}


@dataclass(frozen=True)
class Contrast:
    """A challenger against the champion."""

    arm: str
    sentence: str
    mood: str
    """``good``, ``watch`` or ``bad``."""
    box: Interval
    ends: tuple[str, str]
    """What the ends of the box stand for."""
    words: str
    evidence: str


@dataclass(frozen=True)
class ArmLine:
    """An arm as a line of the table."""

    name: str
    version: str
    share: str
    rows: str
    metric: str
    between: str
    latency: str


@dataclass(frozen=True)
class GuardLine:
    """A guard rail as a line of the table."""

    arm: str
    guard: str
    value: str
    bound: str
    is_breached: bool


@dataclass(frozen=True)
class ExperimentPart:
    """An experiment that is under way, or could not be read."""

    name: str
    task: str
    stage: str
    since: str
    metric: str
    problem: str | None
    arms: Sequence[ArmLine]
    contrasts: Sequence[Contrast]
    guards: Sequence[GuardLine]
    is_unbalanced: bool


@dataclass(frozen=True)
class EndedLine:
    """An experiment that has ended, as a line of the table."""

    name: str
    task: str
    stage: str
    ended: str
    metric: str
    result: str


def view_experiments(found: Snapshot) -> tuple[list[ExperimentPart], list[EndedLine]]:
    """Those under way, and those that ended."""
    parts = [_view(one) for one in found.experiments if one.stage in OPEN]
    return parts, [_ended(one) for one in found.experiments if one.stage not in OPEN]


def _view(one: ExperimentView) -> ExperimentPart:
    total = sum(arm.weight for arm in one.arms)
    return ExperimentPart(
        name=one.name,
        task=one.task,
        stage=_STAGES.get(one.stage, plain(one.stage)),
        since=when(one.at),
        metric=plain(one.metric),
        problem=one.problem,
        arms=[_arm(arm, one.metric, total) for arm in one.arms],
        contrasts=[_contrast(each) for each in one.differences],
        guards=[
            GuardLine(
                each.arm,
                each.guard,
                _value(each.guard, each.estimate),
                _value(each.guard, each.low),
                each.is_breached,
            )
            for each in one.guards
        ],
        is_unbalanced=one.is_balanced is False,
    )


def _arm(arm: ArmView, metric: str, total: float) -> ArmLine:
    figure = arm.metrics.get(metric)
    value, between = MISSING, ""
    if figure is not None and figure.mean is not None:
        value = _value(metric, figure.mean)
        if figure.low is not None and figure.high is not None:
            between = f"{_value(metric, figure.low)} to {_value(metric, figure.high)}"
    return ArmLine(
        name=arm.name,
        version=(arm.version or MISSING)[:12],
        share=share(arm.weight / total if total else None, 0),
        rows=number(arm.rows),
        metric=value,
        between=between,
        latency=milliseconds(arm.latency_p95_ms),
    )


def _contrast(one: DifferenceView) -> Contrast:
    box = make_interval(one.low, one.high, one.estimate)
    is_up = one.low > 0
    is_known = one.low > 0 or one.high < 0
    arm = one.arm
    if not one.is_consistent:
        sentence, mood = (
            "The difference is not the same throughout: intervals of different times do not meet.",
            "watch",
        )
    elif is_known and one.confirmed_low <= 0 <= one.confirmed_high:
        sentence, mood = f"Not confirmed: without the feedback of one key, {arm} less champion may be 0.", "watch"
    elif not is_known:
        sentence, mood = f"Not known yet which is better: the interval of {arm} less champion holds 0.", "watch"
    elif is_up == one.is_better_high:
        sentence, mood = f"{arm} is better than the champion.", "good"
    else:
        sentence, mood = f"{arm} is worse than the champion.", "bad"
    words = f"{_gap(one.metric, one.estimate)} ({_gap(one.metric, one.low)} to {_gap(one.metric, one.high)})"
    pairs = "pairs" if one.is_paired else "blocks"
    chance = "<0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}"
    evidence = f"The interval holds the difference at all times together with {share(one.level, 0)} or more; "
    evidence += f"e-value {one.e_value:.3g}, always-valid p {chance}, {number(one.n)} {pairs}"
    if (one.confirmed_low, one.confirmed_high) != (one.low, one.high):
        evidence += (
            f". Moves go by {_gap(one.metric, one.confirmed_low)} to {_gap(one.metric, one.confirmed_high)}, "
            "which holds also without the feedback of any one key"
        )
    return Contrast(
        one.arm, sentence, mood, box, (_gap(one.metric, -box.reach), _gap(one.metric, box.reach)), words, evidence
    )


def _ended(one: ExperimentView) -> EndedLine:
    first = one.differences[0] if one.differences else None
    result = one.problem if one.problem else MISSING
    if first is not None:
        result = (
            f"{_gap(one.metric, first.estimate)} ({_gap(one.metric, first.low)} to {_gap(one.metric, first.high)})"
        )
    return EndedLine(one.name, one.task, plain(one.stage), when(one.ended_at), plain(one.metric), result)


def _value(metric: str, value: float | None) -> str:
    """A figure in the unit of its metric; guards are named after theirs."""
    return milliseconds(value) if metric.startswith("latency_ms") else share(value)


def _gap(metric: str, value: float | None) -> str:
    """A difference with its sign: in percentage points, or ms."""
    if value is None:
        return MISSING
    is_time = metric.startswith("latency")
    text = f"{value:+.1f} ms" if is_time else f"{100 * value:+.1f} points"
    return text.replace("-", "\N{MINUS SIGN}")
