"""Drift of each task: what the last window showed, how it went, what is estimated, what was judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from demur.serve.dashboard._answers import number
from demur.serve.dashboard._words import ago, plain, share, when

if TYPE_CHECKING:
    from demur.serve.dashboard._gather import Snapshot
    from demur.serve.monitor import EscalationView, TaskView
    from demur.store import DriftRunRow

_TESTS = {
    "score_ks": "Threat score (Kolmogorov-Smirnov)",
    "score_psi": "Threat score (stability index)",
    "labels_chi2": "Labels (chi-square)",
    "labels_js": "Labels (Jensen-Shannon)",
    "prompt_length_ks": "Length of prompts",
    "response_length_ks": "Length of responses",
    "language_chi2": "Language",
    "inputs_mmd": "Inputs (mean discrepancy)",
    "inputs_classifier": "Inputs (classifier)",
    "latency": "Latency",
    "errors": "Errors",
}
_MOST_WINDOWS = 2
"""Of the longest times between two windows, so many may pass before the watch counts as ended."""
_ESTIMATES = {"accuracy": "accuracy", "false_alarm": "false alarms", "missed_threat": "missed threats"}


@dataclass(frozen=True)
class Look:
    """One run as a column of the strip."""

    height: int
    style: str
    """``quiet``, ``signal`` or ``alarm``."""
    hint: str


@dataclass(frozen=True)
class DriftView:
    """A task's part of the section."""

    task: str
    sentence: str
    mood: str
    """``good``, ``watch`` or ``bad``."""
    run: DriftRunRow | None
    tests: Sequence[Mapping[str, Any]]
    looks: Sequence[Look]
    summary: str
    """Of the strip."""
    estimates: Sequence[tuple[str, str]]
    escalation: str | None


def view_drift(found: Snapshot) -> list[DriftView]:
    """Every task that is watched or was."""
    watches = {one.task: one for one in found.watches}
    tasks = dict.fromkeys([*found.runs, *watches])
    return [
        _view_task(task, watches.get(task), found.runs.get(task, []), found)
        for task in tasks
        if task in watches or found.runs.get(task)
    ]


def why_unwatched(watch: TaskView | None, run: DriftRunRow, found: Snapshot) -> str | None:
    """Why the last window of a task says nothing of what is answered now; None where the watch goes on.

    Parameters
    ----------
    watch
        Of the task's champion; None where nobody watches it.
    run
        The last one.
    found
        What was answered since.
    """
    if watch is None:
        return "no monitor watches the task's champion"
    if watch.note is not None:
        return watch.note
    if run.window.get("version") != watch.version:
        return "that was another champion, and no window of this one was looked at yet"
    if _is_overdue(run, found):
        return "the monitor has not looked though answers came; see whether a controller runs, and its log"
    return None


def _is_overdue(run: DriftRunRow, found: Snapshot) -> bool:
    """Whether the monitor should have looked again long ago; answers of the last step may be too new for it."""
    if found.window_s is None or found.at - run.at < timedelta(seconds=_MOST_WINDOWS * found.window_s):
        return False
    steps = list(zip(found.steps, found.tasks.get(run.task, []), strict=False))[:-1]
    return any(step.answers for (begin, _), step in steps if begin >= run.at)


def is_alarm(run: DriftRunRow, kind: str = "alarm") -> bool:
    """Whether a run raised an alarm: of drift, or of ``operation``."""
    told = run.facts.get(kind)
    return bool(told.get("is_alarm")) if isinstance(told, Mapping) else False


def _view_task(task: str, watch: TaskView | None, runs: Sequence[DriftRunRow], found: Snapshot) -> DriftView:
    run = runs[0] if runs else None
    sentence, mood = _say(watch, run, found)
    looks = [_look(one) for one in reversed(runs)]
    kinds = [one.style for one in looks]
    summary = f"The last {len(looks)} windows: {kinds.count('alarm')} with an alarm, {kinds.count('signal')} "
    summary += f"with a signal alone, {kinds.count('quiet')} quiet."
    return DriftView(
        task=task,
        sentence=sentence,
        mood=mood,
        run=run,
        tests=[] if run is None else [_view_test(one) for one in run.tests],
        looks=looks,
        summary=summary,
        estimates=[] if run is None else _estimates(run),
        escalation=None if watch is None or watch.escalation is None else _say_escalation(watch.escalation),
    )


def _say(watch: TaskView | None, run: DriftRunRow | None, found: Snapshot) -> tuple[str, str]:
    if run is None:
        note = None if watch is None else watch.note
        return f"No window was looked at yet{f': {note}' if note else ''}.", "watch"
    sentence, mood = _say_run(run, found.at)
    if why := why_unwatched(watch, run, found):
        return f"Not watched now: {why}. Before that: {sentence}", "bad" if mood == "bad" else "watch"
    return sentence, mood


def _say_run(run: DriftRunRow, now: datetime) -> tuple[str, str]:
    names = [_name(one) for one in run.tests if one.get("is_drift")]
    rows = number(run.window.get("rows"))
    since = f"{ago(now - run.at)} ago"
    if is_alarm(run):
        return (
            f"Alarm: the last {rows} answers, looked at {since}, differ: {', '.join(names) or 'all in all'}.",
            "bad",
        )
    if is_alarm(run, "operation"):
        return f"Alarm: the last {rows} answers, looked at {since}, are slower or failed more often.", "bad"
    if run.is_drift:
        return (
            f"A signal, no alarm: {', '.join(names) or 'all in all'} in the last {rows} answers ({since}).",
            "watch",
        )
    return f"No drift in the last {rows} answers, looked at {since}.", "good"


def _look(run: DriftRunRow) -> Look:
    at = when(run.at)
    if is_alarm(run) or is_alarm(run, "operation"):
        return Look(100, "alarm", f"{at}: alarm")
    if run.is_drift:
        return Look(60, "signal", f"{at}: signal")
    return Look(22, "quiet", f"{at}: quiet")


def _name(test: Mapping[str, Any]) -> str:
    name = str(test.get("name"))
    return _TESTS.get(name, plain(name))


def _view_test(test: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: test.get(name) for name in ("statistic", "effect", "p_value", "p_adjusted", "reason")}
    return told | {"name": _name(test), "is_drift": bool(test.get("is_drift"))}


def _estimates(run: DriftRunRow) -> list[tuple[str, str]]:
    """What is estimated without labels, each with its interval."""
    told = run.facts.get("performance")
    found = []
    for name, words in _ESTIMATES.items():
        one = told.get(name) if isinstance(told, Mapping) else None
        if isinstance(one, Mapping) and one.get("value") is not None:
            low, high = one.get("low"), one.get("high")
            between = f" ({share(low)} to {share(high)})" if low is not None and high is not None else ""
            found.append((words, f"{share(one['value'])}{between}"))
    return found


def _say_escalation(one: EscalationView) -> str:
    counts = f"{one.contrary} of {one.scored} judged answers contradict the champion"
    if one.unscored:
        counts += f", {one.unscored} could not be judged"
    if one.outcome is None:
        return f"Judging since {when(one.begun_at)} by {one.judge}: {counts}, {one.waiting} wait."
    return f"Last judged {when(one.ended_at)} by {one.judge}: {counts}; outcome: {plain(one.outcome)}."
