"""What an experiment's figures ask for: roll back, promote, go on from shadow to A/B, stop, or wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from demur.metrics import SequentialResult
from demur.serve.experiments._config import CHAMPION, ExperimentConfig
from demur.serve.experiments._guards import is_breached
from demur.serve.experiments._metrics import METRICS
from demur.serve.experiments._streams import Streams


@dataclass(frozen=True)
class Verdict:
    """A move that the figures ask for."""

    to: Literal["running", "promoted", "rolled_back", "stopped"]
    reason: str
    arm: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def gain_of(metric: str, result: SequentialResult) -> tuple[float, float]:
    """Interval of how much better a challenger is than the champion, whichever way is better."""
    return (result.low, result.high) if METRICS[metric].is_better_high else (-result.high, -result.low)


def reach_verdict(
    config: ExperimentConfig, stage: str, streams: Streams, hours: float, *, is_behind: bool = False
) -> Verdict | None:
    """The move that is due, or None.

    Harm comes first: a guard rail that was passed by any challenger, then challengers that are all worse. A
    challenger is promoted only where arms get the shares they should and the difference has been the same
    throughout. What goes by feedback must be shown without the users' labels of any one key too.

    Parameters
    ----------
    stage
        ``shadow`` or ``running``.
    hours
        How long it has been in this stage.
    is_behind
        Later rows wait to be read: harm that was shown is shown, and nothing else is decided.
    """
    found = _guard_breach(config, streams) or _inferior(config, streams)
    if found is not None or is_behind:
        return found
    if stage == "shadow":
        return _next_stage(config, streams, hours)
    return _winner(config, streams, hours) or _too_long(config, hours)


def _guard_breach(config: ExperimentConfig, streams: Streams) -> Verdict | None:
    for arm, tests in streams.guards.items():
        for number, (guard, test) in enumerate(zip(config.guards, tests, strict=True)):
            if is_breached_by_all(streams, arm, number):
                facts = {"guard": guard.model_dump(mode="json"), "result": test.test.result().to_json()}
                return Verdict("rolled_back", f"{arm} passed a guard rail: {guard.title}", arm, facts)
    return None


def is_breached_by_all(streams: Streams, arm: str, number: int) -> bool:
    """Whether a guard rail, by its number, was passed by all observations that must show it."""
    guard = streams.config.guards[number]
    return all(is_breached(guard, one.guards[arm][number]) for one in streams.views(guard.metric))


def _inferior(config: ExperimentConfig, streams: Streams) -> Verdict | None:
    """Every challenger was shown to be worse than the champion."""
    if config.roll_back.rule == "never":
        return None
    views = [{arm: test.test.result() for arm, test in one.tests.items()} for one in streams.views(config.metric)]
    found = [one for results in views for one in results.values()]
    if not all(gain_of(config.metric, one)[1] < -config.roll_back.margin for one in found):
        return None
    results = views[0]
    facts = {"results": {arm: one.to_json() for arm, one in results.items()}}
    return Verdict("rolled_back", f"no challenger is as good as the champion by {config.metric}", None, facts)


def _next_stage(config: ExperimentConfig, streams: Streams, hours: float) -> Verdict | None:
    rule = config.shadow
    fewest = min(streams.rows[arm] for arm in config.arms[1:])
    if rule.then == "wait" or hours < rule.min_hours or fewest < rule.min_rows:
        return None
    return Verdict("running", "nothing speaks against the shadows", None, {"rows": fewest, "hours": hours})


def _winner(config: ExperimentConfig, streams: Streams, hours: float) -> Verdict | None:
    rule = config.promote
    if rule.rule == "never" or hours < rule.min_hours or not streams.is_balanced:
        return None
    least = rule.margin if rule.rule == "superior" else -rule.margin
    fit: dict[str, tuple[float, Mapping[str, Any]]] = {}
    for arm, one in streams.tests.items():
        if all(_is_fit(config, each, arm, least) for each in streams.views(config.metric)):
            result = one.test.result()
            fit[arm] = (sum(gain_of(config.metric, result)), result.to_json())
    if not fit:
        return None
    best = max(fit, key=lambda arm: (fit[arm][0], arm))
    words = "better than the champion" if rule.rule == "superior" else "no worse than the champion"
    return Verdict("promoted", f"{best} is {words} by {config.metric}", best, {"result": fit[best][1]})


def _is_fit(config: ExperimentConfig, view: Streams, arm: str, least: float) -> bool:
    """Whether observations show that a challenger gains more than the least, with enough rows."""
    result = view.tests[arm].test.result()
    is_enough = min(view.counted(arm), view.counted(CHAMPION)) >= config.promote.min_rows
    return is_enough and result.is_consistent and gain_of(config.metric, result)[0] > least


def _too_long(config: ExperimentConfig, hours: float) -> Verdict | None:
    if config.max_hours is None or hours < config.max_hours:
        return None
    return Verdict("stopped", f"no winner after {config.max_hours:g} hours", None, {"hours": hours})
