"""The watch over one task: its reference, the next window, what follows; kept in the store between steps."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from demur.errors import ArtifactError, DataError, UnknownRowError
from demur.metrics import AlarmDecision, Bootstrap, decide_alarm, estimate_performance
from demur.serve.monitor._alerts import Alert
from demur.serve.monitor._compare import Comparison, compare_operation, compare_rows, judge_findings, thin_rows
from demur.serve.monitor._config import MonitorConfig
from demur.serve.monitor._escalate import Escalator
from demur.serve.monitor._frame import answers_of, observe_rows, span_of
from demur.serve.monitor._reference import Reference, read_reference
from demur.serve.monitor._watch_state import WatchState, state_name
from demur.store import DriftRunRow
from demur.tasks import Task

if TYPE_CHECKING:
    from demur.store import ModelRow, Store

TICK = timedelta(microseconds=1)
_DRAWS = 500


@dataclass(frozen=True)
class Watch:
    """The watch over one task.

    Parameters
    ----------
    store, config
        What there is and how it is watched.
    task
        Of the champion.
    champion
        Whose answers are watched.
    escalator
        What an alarm sets going.
    """

    store: Store
    config: MonitorConfig
    task: Task
    champion: ModelRow
    escalator: Escalator

    def step(self, now: datetime) -> DriftRunRow | None:
        """Look at the next window, if one is due; the run, if there was one.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; the same call goes on later.
        DataError
            The reference is damaged; take a new one.
        """
        state = self._load(now)
        if state.reference is None:
            state = self._find_reference(state, now)
            self._save(state)
        until = now - timedelta(seconds=self.config.window.settle_s)
        if state.reference is None or not self._is_due(state, until, now):
            return None
        where, span = answers_of(state.version), (state.began_at, until)
        window = observe_rows(self.store, self.task, where, span, self.config.window.rows)
        if len(window) < self.config.window.min_rows:
            return None
        try:
            row = self.store.reference(state.reference)
        except UnknownRowError:  # deleted by age: another one is found by the next step
            self.store.change_monitor_state(state_name(self.task.name), lambda was: None)
            return None
        return self._look(state, Reference.from_row(row), window, now)

    def _load(self, now: datetime) -> WatchState:
        """The state as it was left; a fresh one for another champion."""
        kept = self.store.monitor_state(state_name(self.task.name))
        if kept is not None and kept["version"] == self.champion.version:
            return WatchState.from_json(kept)
        began = self.champion.at if kept is None else now
        return WatchState(self.champion.version, began, began, now)

    def _save(self, state: WatchState) -> None:
        """Keep the state, unless an administrator chose another reference meanwhile."""

        def change(was: dict[str, Any] | None) -> dict[str, Any]:
            if was is None or was["version"] != state.version or was["reference"] in (None, state.reference):
                return state.to_json()
            return was

        self.store.change_monitor_state(state_name(self.task.name), change)

    def _find_reference(self, state: WatchState, now: datetime) -> WatchState:
        """The newest reference of the version; else the one saved with the model; else the first live rows."""
        name, source = self.task.name, self.config.reference.source
        (known,) = self.store.references(name, state.version, limit=1) or (None,)
        if known is not None:
            return replace(state, reference=known.id, note=None)
        if source != "live":
            try:
                saved = read_reference(Path(self.champion.folder), name, state.version)
            except ArtifactError as error:
                return replace(state, note=str(error))
            if saved is not None:
                row = saved.to_row(f"model/{name}/{state.version}")
                self.store.add_reference(row)
                return replace(state, reference=row.id, note=None)
            if source == "model":
                return replace(state, note="no reference is saved with the model; make one, or set source: live")
        return self._take_live(state, now)

    def _take_live(self, state: WatchState, now: datetime) -> WatchState:
        wanted = self.config.reference.rows
        until = now - timedelta(seconds=self.config.window.settle_s)
        there = self.store.count_answers(self.task.name, state.version, state.began_at, until)
        if there < wanted:
            return replace(state, note=f"{there} of {wanted} rows of the reference have come")
        where, span = answers_of(state.version, is_newest_first=False), (state.began_at, until)
        rows = observe_rows(self.store, self.task, where, span, wanted)
        found = live_reference(self.store, self.task.name, state.version, "live", rows)
        row = found.to_row(f"live/{self.task.name}/{state.version}")
        self.store.add_reference(row)
        after = span_of(rows)[1] + TICK
        return WatchState(state.version, after, after, now, reference=row.id)

    def _is_due(self, state: WatchState, until: datetime, now: datetime) -> bool:
        settings = self.config.window
        waited_s = (now - state.looked_at).total_seconds()
        if waited_s < settings.min_gap_s:
            return False
        new = self.store.count_answers(self.task.name, state.version, state.cursor, until)
        is_late = settings.max_s is not None and waited_s >= settings.max_s
        return new >= (1 if is_late else settings.every)

    def _look(self, state: WatchState, reference: Reference, window: pl.DataFrame, now: datetime) -> DriftRunRow:
        first, last = span_of(window)
        run_id = f"{self.task.name}/{state.version[:12]}/{last.isoformat()}"
        seed = zlib.crc32(run_id.encode())
        comparison = self._compare(state, reference, window, seed)
        drift = decide_alarm(comparison.p_value, state.alarm, self.config.alarm)
        operation = decide_alarm(comparison.p_operation, state.operation, self.config.alarm)
        facts = dict(comparison.facts) | {
            "p_value": comparison.p_value,
            "alarm": describe_decision(drift),
            "operation": describe_decision(operation) | {"p_value": comparison.p_operation},
            "performance": self._estimate(window, seed),
            "reference": reference.facts | {"id": state.reference, "source": reference.source},
        }
        run = DriftRunRow(
            id=run_id,
            task=self.task.name,
            at=now,
            window={
                "rows": len(window),
                "first": first.isoformat(),
                "last": last.isoformat(),
                "version": state.version,
            },
            tests=[one.to_json() for one in comparison.findings],
            is_drift=drift.is_signal,
            facts=facts | {"escalation": self._escalate(drift, run_id, first, now)},
        )
        self.store.add_drift_run(run)
        told = self._tell(run, {"drift": drift, "operation": operation}, state.told)
        new = replace(state, cursor=last + TICK, looked_at=now, told=told, note=None)
        self._save(replace(new, alarm=drift.state, operation=operation.state))
        return run

    def _compare(self, state: WatchState, reference: Reference, window: pl.DataFrame, seed: int) -> Comparison:
        settings = self.config.compare
        first, second = thin_rows(reference.frame, window, self.task.fields, settings, seed)
        findings = compare_rows(self.task, first, second, settings, seed)
        since, last = span_of(window)
        now_shares = error_shares(self.store, min(since, state.cursor), last)
        shares = reference.facts.get("error_shares", []), now_shares
        findings += compare_operation(reference.frame, window, shares, settings.block)
        facts = {
            "rows": {"reference": len(reference.frame), "window": len(window)},
            "independent_rows": {"reference": len(first), "window": len(second), "unit": settings.unit},
        }
        return judge_findings(findings, self.config.alarm.alpha, facts)

    def _estimate(self, window: pl.DataFrame, seed: int) -> dict[str, Any]:
        chances, flagged = window["probabilities"].to_list(), window["flagged"].to_list()
        try:
            found = estimate_performance(self.task, chances, flagged, Bootstrap(draws=_DRAWS, seed=seed))
        except (
            DataError
        ) as error:  # answers of a model whose labels are not the task's: the tests stand all the same
            return {"reason": str(error)}
        return found.to_json()

    def _escalate(
        self, drift: AlarmDecision, run_id: str, since: datetime, now: datetime
    ) -> dict[str, str] | None:
        """Begin an escalation after an alarm: its id, or why there is none."""
        if not (drift.is_alarm and self.config.escalation.enabled):
            return None
        found = self.escalator.begin(self.task.name, self.champion.version, run_id, since, now)
        return {"not_begun": found} if isinstance(found, str) else {"id": found.id}

    def _tell(self, run: DriftRunRow, decisions: dict[str, AlarmDecision], told: dict[str, str]) -> dict[str, str]:
        """Tell alarms that are new, or have gone on for long; when each kind was last told, if it goes on."""
        found: dict[str, str] = {}
        for kind, decision in decisions.items():
            if not decision.is_alarm:
                continue
            again = timedelta(seconds=self.config.repeat_s)
            if kind in told and run.at < datetime.fromisoformat(told[kind]) + again:
                found[kind] = told[kind]
                continue
            self.escalator.alerter.send(describe_alarm(run, kind))
            found[kind] = run.at.isoformat()
        return found


def describe_alarm(run: DriftRunRow, kind: str) -> Alert:
    """The alert of a run, of kind ``drift`` or ``operation``."""
    is_operation = kind == "operation"
    names = [
        one["name"] for one in run.tests if one["is_drift"] and (one["family"] == "operation") is is_operation
    ]
    what = "are slower or fail more often than" if is_operation else "differ from"
    p_value = run.facts["operation"]["p_value"] if is_operation else run.facts["p_value"]
    rows = run.window["rows"]
    return Alert(
        id=f"{kind}-{zlib.crc32(run.id.encode()):08x}",
        kind=kind,
        task=run.task,
        message=f"the last {rows} answers of task '{run.task}' {what} the reference ({', '.join(names)})",
        facts={"run": run.id, "tests": names, "p_value": p_value},
        at=run.at,
    )


def live_reference(store: Store, task: str, version: str, source: str, rows: pl.DataFrame) -> Reference:
    """A reference of live rows, with the shares of failed requests of their time."""
    first, last = span_of(rows)
    facts = {
        "error_shares": error_shares(store, first, last),
        "first": first.isoformat(),
        "last": last.isoformat(),
    }
    return Reference(task, version, source, rows, facts)


def error_shares(store: Store, since: datetime, until: datetime, most: int = 500) -> Sequence[float]:
    """Shares of requests that the server failed, one for each short time of a worker, the newest."""
    rows = store.traffic(since, until)[-most:]
    return [row.errors / row.requests for row in rows if row.requests]


def describe_decision(decision: AlarmDecision) -> dict[str, Any]:
    """What a window led to, as plain values."""
    return {
        "is_signal": decision.is_signal,
        "is_alarm": decision.is_alarm,
        "level": decision.level,
        "windows": decision.state.tested,
        "alarms": decision.state.alarms,
    }
