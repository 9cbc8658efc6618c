"""Escalating validation, step by step: draw, judge, decide; kept in the store, so that any step may fail.

Machines judge texts, so they need text logging ``full``. Without texts people judge: they find the request ids in
the queue, look the texts up on their own side, and send labels as feedback of source ``people``.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from demur.errors import DemurError, StoreUnavailableError
from demur.serve.monitor._alerts import Alert, Alerter
from demur.serve.monitor._config import MonitorConfig
from demur.serve.monitor._escalation import (
    Escalation,
    SampledRow,
    budget_left,
    decide_level,
    draw_rows,
    recent_spending,
)
from demur.serve.monitor._judges import Judge, JudgedText, judge_texts
from demur.store import FeedbackRow, PredictionFilter, RetrainRow, new_id
from demur.tasks import Task

if TYPE_CHECKING:
    from demur.store import PredictionRow, Store

_LOG = logging.getLogger("demur.serve.monitor")
_CANDIDATES = 5000
_KEPT = 20
REQUESTED = "requested"
"""The stage of a retraining that was asked for and that nobody has begun."""


@dataclass(frozen=True)
class Escalator:
    """What an escalation of a task works with."""

    store: Store
    config: MonitorConfig
    alerter: Alerter
    judge: Judge | None
    """None: people."""

    def begin(self, task: str, version: str, cause: str, since: datetime, now: datetime) -> Escalation | str:
        """Begin an escalation, or say why not: one is under way, or ended a short while ago."""
        settings = self.config.escalation
        name = "people" if self.judge is None else self.judge.name
        fresh = Escalation(new_id(), task, version, cause, name, since, now, now)
        why = ""

        def change(was: dict[str, Any] | None) -> dict[str, Any]:
            nonlocal why
            known = None if was is None else Escalation.from_json(was)
            why = ""
            if known is not None and known.outcome is None:
                why = "an escalation is under way"
            elif known is not None and known.ended_at is not None and cause != "admin":
                free = known.ended_at + timedelta(seconds=settings.cool_down_s)
                why = f"cooling down until {free.isoformat()}" if now < free else ""
            return was if was is not None and why else fresh.to_json()

        self.store.change_monitor_state(state_name(task), change)
        if why:
            return why
        self.store.audit("system", "escalation.begin", task, {"id": fresh.id, "cause": cause, "judge": name})
        return fresh

    def advance(self, task: Task, version: str, now: datetime) -> Escalation | None:
        """Do the next piece of the escalation under way, if there is one.

        Raises
        ------
        DemurError
            The judge cannot work, and the level may wait for it; or the database does not answer. The same call
            goes on later.
        """
        found = current_escalation(self.store, task.name)
        if found is None or found.is_told:
            return found
        if found.outcome is not None:  # ended by an administrator, or by a process that was killed then
            return self._finish(found)
        if found.version != version:
            return self._end(found, lambda one: one.end("superseded", now))
        found = self._draw(found, task, now)
        if found.outcome is None and found.waiting:
            found = self._collect(found, task, now) if found.judge == "people" else self._judge(found, task, now)
        if found.outcome is None and found.rows and not found.waiting and self._is_full(found, now):
            found = self._decide(found, now)
        return found

    def _draw(self, found: Escalation, task: Task, now: datetime) -> Escalation:
        """Rows of this level that are not drawn yet, as far as there are any."""
        missing = self.config.escalation.levels[found.level].rows - len(found.rows)
        if missing <= 0 or (found.rows and self._is_over(found, now)):
            return found
        where = PredictionFilter(version=found.version, is_shadow=False, is_newest_first=True)
        until = now - timedelta(seconds=self.config.window.settle_s)
        recent = self.store.predictions(task.name, found.since, until, _CANDIDATES, where=where)
        drawn = draw_rows(distinct_rows(recent, found.id), found, missing)
        if not drawn:
            return (
                self._end(found, lambda one: one.end("inconclusive", now, "no rows"))
                if (self._is_over(found, now) and not found.rows)
                else found
            )
        texts = {row.id: row for row in recent}
        lacks_text = any(not has_texts(texts[row.prediction], task) for row in drawn)
        note = "texts are not logged, so people judge" if lacks_text and found.judge != "people" else found.note

        def change(one: Escalation) -> Escalation:
            judge = "people" if lacks_text else one.judge
            return replace(one, rows=(*one.rows, *drawn), judge=judge, note=note)

        return self._change(found, change)

    def _judge(self, found: Escalation, task: Task, now: datetime) -> Escalation:
        """Have some waiting rows judged, within the budget."""
        if self.judge is None:  # the configuration has changed since
            return self._change(found, lambda one: replace(one, judge="people"))
        settings = self.config.escalation
        left = self._spend(task.name, min(settings.judge.batch, len(found.waiting)), now)
        if not left:
            return (
                self._give_up(found, now, "the budget of judged rows was spent")
                if self._is_over(found, now)
                else found
            )
        rows = found.waiting[:left]
        verdicts: dict[str, tuple[str | None, str | None]] = {}
        readable: list[tuple[SampledRow, JudgedText]] = []
        for row in rows:
            kept = self._find(row)
            if kept is None or not has_texts(kept, task):
                verdicts[row.prediction] = None, "the text is not there any more"
            else:
                readable.append((row, JudgedText(kept.prompt, kept.response)))
        try:
            texts = [text for _, text in readable]
            said = judge_texts(self.judge, task, texts, lambda wanted: self._spend(task.name, wanted, now))
        except StoreUnavailableError:
            raise
        except DemurError as error:
            if self._is_over(found, now):
                return self._give_up(found, now, f"the judge could not work in time ({type(error).__name__})")
            raise
        labels = []
        for (row, _), one in zip(readable, said, strict=True):
            verdicts[row.prediction] = one.label, one.reason
            if one.label is not None:
                labels.append(self._feedback(found, row, one.label, now))
        self.store.add_feedback(labels)
        return self._change(found, lambda one: one.score(verdicts))

    def _collect(self, found: Escalation, task: Task, now: datetime) -> Escalation:
        """Take the labels that people sent; rows that nobody judged in time are unscored."""
        said = {
            (row.request_id, row.item): row.label
            for row in self.store.feedback(task.name, found.begun_at)
            if row.source == "people" and row.label in task.labels
        }
        verdicts: dict[str, tuple[str | None, str | None]] = {
            row.prediction: (said[row.request_id, row.item], None)
            for row in found.waiting
            if (row.request_id, row.item) in said
        }
        if verdicts:
            found = self._change(found, lambda one: one.score(verdicts))
        return self._give_up(found, now, "nobody judged it in time") if self._is_over(found, now) else found

    def _decide(self, found: Escalation, now: datetime) -> Escalation:
        decided = decide_level(found, self.config.escalation, now)
        if decided.outcome == "retrain":
            decided = self._ask_retraining(decided, now)
        if decided.outcome is not None:
            return self._end(found, lambda one: decided)
        self._tell(decided, now)
        return self._change(found, lambda one: decided)

    def _ask_retraining(self, decided: Escalation, now: datetime) -> Escalation:
        """A request for retraining, unless there was one a short while ago."""
        wait = timedelta(seconds=self.config.escalation.retrain_cool_down_s)
        (last,) = self.store.retrains(decided.task, limit=1) or (None,)
        request = RetrainRow(
            id=f"drift-{decided.id}",
            task=decided.task,
            stage=REQUESTED,
            at=now,
            facts={
                "cause": "drift",
                "actor": "system",
                "is_urgent": False,
                "history": [[REQUESTED, now.isoformat()]],
                "drift_run": decided.cause,
                "escalation": decided.id,
                "champion": decided.version,
                "decided": list(decided.decided),
            },
        )
        if last is not None and last.id != request.id and last.at + wait > now:
            return decided.end("cooling", now, f"retraining was asked for at {last.at.isoformat()}")
        self.store.add_retrain(request)
        return decided

    def _is_full(self, found: Escalation, now: datetime) -> bool:
        """Whether a level has its rows, or has waited for them long enough."""
        return len(found.rows) >= self.config.escalation.levels[found.level].rows or self._is_over(found, now)

    def _is_over(self, found: Escalation, now: datetime) -> bool:
        return now - found.level_at > timedelta(seconds=self.config.escalation.wait_s)

    def _give_up(self, found: Escalation, now: datetime, why: str) -> Escalation:
        verdicts: dict[str, tuple[str | None, str | None]] = {row.prediction: (None, why) for row in found.waiting}
        return self._change(found, lambda one: one.score(verdicts))

    def _spend(self, task: str, wanted: int, now: datetime) -> int:
        """Take rows from the budget before they are judged, so that no crash makes it larger; or give back."""
        taken = 0

        def change(was: dict[str, Any] | None) -> dict[str, Any]:
            nonlocal taken
            spent = recent_spending((was or {"spent": []})["spent"], now)
            taken = min(wanted, budget_left(spent, self.config.escalation, now))
            counts: Counter[str] = Counter()
            for at, count in [*spent, [now.isoformat(), taken]]:
                counts[at] += count
            return {"spent": [[at, count] for at, count in counts.items() if count]}

        self.store.change_monitor_state(f"judged/{task}", change)
        return taken

    def _find(self, row: SampledRow) -> PredictionRow | None:
        found = self.store.predictions(where=PredictionFilter(request_id=row.request_id))
        return next((one for one in found if one.id == row.prediction), None)

    def _feedback(self, found: Escalation, row: SampledRow, label: str, now: datetime) -> FeedbackRow:
        return FeedbackRow(
            id=f"{found.id}/{row.prediction}",
            request_id=row.request_id,
            item=row.item,
            task=found.task,
            label=label,
            source="judge",
            note=found.judge,
            at=now,
        )

    def _change(self, found: Escalation, change: Callable[[Escalation], Escalation]) -> Escalation:
        """Change the escalation if it is still under way; else what became of it."""

        def apply(was: dict[str, Any] | None) -> dict[str, Any] | None:
            known = None if was is None else Escalation.from_json(was)
            if known is None or known.id != found.id or known.outcome is not None:
                return was
            return change(known).to_json()

        state = self.store.change_monitor_state(state_name(found.task), apply)
        return found if state is None else Escalation.from_json(state)

    def _end(self, found: Escalation, change: Callable[[Escalation], Escalation]) -> Escalation:
        return self._finish(self._change(found, change))

    def _finish(self, ended: Escalation) -> Escalation:
        """Tell what came of it, once; told again where the process is killed in between."""
        remember(self.store, ended)
        self._tell(ended, ended.ended_at or ended.level_at)
        told = replace(ended, is_told=True)
        self.store.change_monitor_state(
            state_name(ended.task), lambda was: told.to_json() if was and was["id"] == ended.id else was
        )
        return told

    def _tell(self, found: Escalation, now: datetime) -> None:
        facts: dict[str, Any] = {
            "id": found.id,
            "outcome": found.outcome,
            "level": found.level,
            "note": found.note,
        }
        facts |= {"decided": list(found.decided[-1:])}
        act = f"escalation.{found.outcome or 'level'}"
        self.store.audit("system", act, found.task, facts)
        kind = "retrain" if found.outcome == "retrain" else "escalation"
        said = found.outcome or f"level {found.level + 1} of {len(self.config.escalation.levels)} begins"
        number = found.level if found.outcome is None else found.outcome
        self.alerter.send(
            Alert(
                id=f"escalation-{found.id}-{number}",
                kind=kind,
                task=found.task,
                message=f"judging after drift of task '{found.task}': {said}",
                facts=facts,
                at=now,
            )
        )


def current_escalation(store: Store, task: str) -> Escalation | None:
    """The escalation of a task that is under way, or the last one."""
    found = store.monitor_state(state_name(task))
    return None if found is None else Escalation.from_json(found)


def stop_escalation(store: Store, task: str, actor: str, now: datetime) -> Escalation | None:
    """End the escalation under way; None where there is none.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; nothing was stopped.
    """
    stopped: Escalation | None = None

    def change(was: dict[str, Any] | None) -> dict[str, Any] | None:
        nonlocal stopped
        known = None if was is None else Escalation.from_json(was)
        stopped = None
        if known is None or known.outcome is not None:
            return was
        stopped = known.end("stopped", now, f"by {actor}")
        return stopped.to_json()

    store.change_monitor_state(state_name(task), change)
    if stopped is not None:
        store.audit(actor, "escalation.stop", task, {"id": stopped.id})
        remember(store, stopped)
    return stopped


def remember(store: Store, ended: Escalation) -> None:
    """Add an escalation that ended to the task's history, without its rows."""
    short = ended.to_json() | {"rows": len(ended.rows)}

    def change(was: dict[str, Any] | None) -> dict[str, Any]:
        listed = [one for one in (was or {"ended": []})["ended"] if one["id"] != ended.id]
        return {"ended": [*listed, short][-_KEPT:]}

    store.change_monitor_state(f"escalations/{ended.task}", change)


def distinct_rows(recent: list[PredictionRow], escalation: str) -> list[SampledRow]:
    """Rows that may be drawn: of those with the same texts one, since they would be judged alike.

    Parameters
    ----------
    recent
        Answers.
    escalation
        Its id, which is part of each hash: hashes of two escalations tell nothing of each other.
    """
    found: dict[str, SampledRow] = {}
    for row in recent:
        texts = (row.prompt or row.prompt_hash, row.response or row.response_hash)
        hashed = None if texts == (None, None) else _hash_texts(texts, escalation)
        found.setdefault(
            hashed or row.id, SampledRow(row.id, row.request_id, row.item, row.label, text_hash=hashed)
        )
    return list(found.values())


def _hash_texts(texts: tuple[str | None, str | None], escalation: str) -> str:
    told = json.dumps([escalation, *texts]).encode()
    return hashlib.sha256(told).hexdigest()[:32]


def has_texts(row: PredictionRow, task: Task) -> bool:
    """Whether a text that the task reads was kept."""
    return any(getattr(row, field) is not None for field in task.fields)


def state_name(task: str) -> str:
    """Where an escalation is kept."""
    return f"escalation/{task}"
