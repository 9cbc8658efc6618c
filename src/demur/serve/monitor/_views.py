"""What ``/admin/drift`` shows: states, runs, references, escalations and the queue of rows for people."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from demur.serve.monitor._escalate import current_escalation
from demur.serve.monitor._watch_state import state_name

if TYPE_CHECKING:
    from demur.store import DriftRunRow, ReferenceRow, Store


class TestView(BaseModel):
    """One test of a window."""

    __test__ = False

    name: str
    family: str = Field(description="input, score, label or operation.")
    statistic: float | None
    effect: float | None
    p_value: float | None
    p_adjusted: float | None
    is_drift: bool
    reason: str | None = Field(description="Why there is no p-value.")


class RunView(BaseModel):
    """One look at a window."""

    id: str
    task: str
    at: datetime
    window: dict[str, Any]
    is_drift: bool = Field(description="Whether the window alone signals; see facts.alarm for the alarm.")
    tests: list[TestView]
    facts: dict[str, Any]


class RunViews(BaseModel):
    """Runs, the newest first."""

    runs: list[RunView]


class ReferenceView(BaseModel):
    """What windows are compared with."""

    id: str
    task: str
    version: str
    source: str = Field(description="model, live or admin.")
    rows: int
    at: datetime
    facts: dict[str, Any]


class ReferenceViews(BaseModel):
    """References, the newest first."""

    references: list[ReferenceView]


class EscalationView(BaseModel):
    """An escalation, from an alarm to its outcome."""

    id: str
    cause: str
    judge: str
    begun_at: datetime
    level: int = Field(description="From 0.")
    rows: int
    waiting: int
    contrary: int = Field(description="Judged rows that contradict the champion.")
    scored: int
    unscored: int = Field(description="Rows that could not be judged; they count for neither side.")
    decided: list[dict[str, Any]]
    outcome: str | None
    ended_at: datetime | None
    note: str | None


class TaskView(BaseModel):
    """How a task is watched."""

    task: str
    version: str
    reference: str | None
    note: str | None = Field(description="Why nothing is watched, if so.")
    looked_at: datetime
    windows: int = Field(description="Windows of this season.")
    alarms: int
    last_run: RunView | None
    escalation: EscalationView | None
    ended: list[dict[str, Any]] = Field(description="Escalations that ended, the newest last.")


class TaskViews(BaseModel):
    """Every task that is watched."""

    tasks: list[TaskView]


class QueueItem(BaseModel):
    """A row that waits for a person; what the champion said of it is not shown, so that nobody leans on it."""

    request_id: str = Field(description="Send it as id to POST /v1/feedback, with source people.")
    item: int
    task: str
    labels: list[str]
    prompt: str | None = Field(description="Where texts are logged.")
    response: str | None


class QueueView(BaseModel):
    """Rows that wait for people."""

    items: list[QueueItem]


def show_tasks(store: "Store") -> list[TaskView]:
    """Every task with a champion that was looked at."""
    return [found for row in store.models(stage="champion") if (found := show_task(store, row.task)) is not None]


def show_task(store: "Store", task: str) -> TaskView | None:
    """How a task is watched; None before the monitor first looked at it."""
    state = store.monitor_state(state_name(task))
    if state is None:
        return None
    last = store.drift_runs(task, limit=1)
    ended = store.monitor_state(f"escalations/{task}") or {"ended": []}
    return TaskView(
        task=task,
        version=state["version"],
        reference=state["reference"],
        note=state["note"],
        looked_at=datetime.fromisoformat(state["looked_at"]),
        windows=state["alarm"]["tested"],
        alarms=state["alarm"]["alarms"],
        last_run=show_run(last[0]) if last else None,
        escalation=show_escalation(store, task),
        ended=ended["ended"],
    )


def show_run(row: "DriftRunRow") -> RunView:
    """One run."""
    tests = [TestView(**{name: one[name] for name in TestView.model_fields}) for one in row.tests]
    return RunView(
        id=row.id, task=row.task, at=row.at, window=row.window, is_drift=row.is_drift, tests=tests, facts=row.facts
    )


def show_reference(row: "ReferenceRow") -> ReferenceView:
    """One reference, without its rows."""
    return ReferenceView(**{name: getattr(row, name) for name in ReferenceView.model_fields})


def show_escalation(store: "Store", task: str) -> EscalationView | None:
    """The escalation under way, or the last one."""
    found = current_escalation(store, task)
    if found is None:
        return None
    contrary, scored, unscored = found.counts
    return EscalationView(
        id=found.id,
        cause=found.cause,
        judge=found.judge,
        begun_at=found.begun_at,
        level=found.level,
        rows=len(found.rows),
        waiting=len(found.waiting),
        contrary=contrary,
        scored=scored,
        unscored=unscored,
        decided=[dict(one) for one in found.decided],
        outcome=found.outcome,
        ended_at=found.ended_at,
        note=found.note,
    )


def show_queue(store: "Store", task: str | None, limit: int) -> list[QueueItem]:
    """Rows that wait for people, of one task or all."""
    from demur.store import PredictionFilter

    names = [row.task for row in store.models(stage="champion") if task in (None, row.task)]
    items: list[QueueItem] = []
    for name in names:
        found = current_escalation(store, name)
        if found is None or found.outcome is not None or found.judge != "people":
            continue
        for row in found.waiting[: limit - len(items)]:
            kept = store.predictions(name, where=PredictionFilter(request_id=row.request_id))
            ours = next((one for one in kept if one.id == row.prediction), None)
            if ours is not None:
                items.append(
                    QueueItem(
                        request_id=row.request_id,
                        item=row.item,
                        task=name,
                        labels=sorted(ours.probabilities),
                        prompt=ours.prompt,
                        response=ours.response,
                    )
                )
    return items
