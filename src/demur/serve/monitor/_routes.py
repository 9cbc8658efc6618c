"""``/admin/drift``: states, runs, references, the queue of rows for people, escalations begun and stopped."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from demur.serve.monitor._alerts import Alerter
from demur.serve.monitor._config import MonitorConfig
from demur.serve.monitor._escalate import Escalator, stop_escalation
from demur.serve.monitor._judges import make_judge
from demur.serve.monitor._reference_admin import take_reference
from demur.serve.monitor._views import (
    EscalationView,
    QueueView,
    ReferenceView,
    ReferenceViews,
    RunViews,
    TaskViews,
    show_escalation,
    show_queue,
    show_reference,
    show_run,
    show_tasks,
)

if TYPE_CHECKING:
    from fastapi import APIRouter

    from demur.serve.api import Parts

_LOOK_BACK = timedelta(days=30)
"""How old rows may be that are judged by command."""
Endpoint = tuple[str, str, Any, Any]
"""Method, path, what answers, and the shape of its answer."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class NewReference(BaseModel, extra="forbid", frozen=True):
    """Which rows become the reference."""

    task: Name = Field(description="The task.", examples=["refusal"])
    rows: int | None = Field(
        default=None, ge=100, le=20_000, description="At most so many of the newest; null: as configured."
    )


class TaskBody(BaseModel, extra="forbid", frozen=True):
    """Of which task."""

    task: Name = Field(description="The task.", examples=["refusal"])


def router(parts: "Parts") -> "APIRouter":
    """The routes; every one takes a key of scope ``admin``, and every act is in the audit log.

    Parameters
    ----------
    parts
        Of the application that includes them.
    """
    from demur.serve.api import error_responses, guard_router, needs

    made = guard_router("/admin/drift", ["drift"])
    look = error_responses(401, 403, 422, 429, 503)
    change = error_responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)
    every = [(*one, look) for one in _list_readers(parts)] + [(*one, change) for one in _list_changers(parts)]
    for method, path, endpoint, model, errors in every:
        made.add_api_route(
            path, endpoint, methods=[method], response_model=model, responses=errors, openapi_extra=needs("admin")
        )
    return made


def _list_readers(parts: "Parts") -> list[Endpoint]:
    from fastapi import Query

    store = parts.store
    task_query = Query(description="Only of this task.")

    def show_all() -> TaskViews:
        """Show how every task is watched: reference, last run, alarms, escalation."""
        return TaskViews(tasks=show_tasks(store))

    def runs(
        task: Annotated[Name | None, task_query] = None, limit: Annotated[int, Query(ge=1, le=200)] = 20
    ) -> RunViews:
        """List the windows that were looked at, the newest first."""
        return RunViews(runs=[show_run(row) for row in store.drift_runs(task, limit=limit)])

    def references(
        task: Annotated[Name | None, task_query] = None, limit: Annotated[int, Query(ge=1, le=200)] = 20
    ) -> ReferenceViews:
        """List the references, the newest first."""
        return ReferenceViews(references=[show_reference(row) for row in store.references(task, limit=limit)])

    def queue(
        task: Annotated[Name | None, task_query] = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> QueueView:
        """List the rows that wait for people; send their labels to `POST /v1/feedback` with source `people`."""
        return QueueView(items=show_queue(store, task, limit))

    return [
        ("GET", "", show_all, TaskViews),
        ("GET", "/runs", runs, RunViews),
        ("GET", "/references", references, ReferenceViews),
        ("GET", "/queue", queue, QueueView),
    ]


def _list_changers(parts: "Parts") -> list[Endpoint]:
    from fastapi import Request

    from demur.serve.api import ApiError, get_call

    store = parts.store
    config: MonitorConfig = parts.config.monitor

    def now() -> datetime:
        return datetime.now(UTC)

    def actor(request: Request) -> str:
        return get_call(request).caller.key_id or "unknown"

    def shown(task: str) -> EscalationView:
        found = show_escalation(store, task)
        assert found is not None
        return found

    def refer(body: NewReference, request: Request) -> ReferenceView:
        """Make the newest rows of the champion the reference; alarms begin anew."""
        return show_reference(take_reference(store, config, body.task, now(), actor(request), body.rows))

    def begin(body: TaskBody, request: Request) -> EscalationView:
        """Have a sample of the newest rows judged now, without an alarm."""
        champion = store.champion(body.task)
        if champion is None:
            raise ApiError(404, "the task has no champion; GET /admin/models lists what there is", "task")
        store.audit(actor(request), "escalation.command", body.task)
        escalator = Escalator(store, config, Alerter(store), make_judge(config.escalation.judge))
        found = escalator.begin(body.task, champion.version, "admin", now() - _LOOK_BACK, now())
        if isinstance(found, str):
            raise ApiError(409, f"it was not begun: {found}")
        return shown(body.task)

    def stop(body: TaskBody, request: Request) -> EscalationView:
        """End the escalation under way; its judged rows stay as feedback."""
        if stop_escalation(store, body.task, actor(request), now()) is None:
            raise ApiError(404, "no escalation of the task is under way", "task")
        return shown(body.task)

    return [
        ("POST", "/references", refer, ReferenceView),
        ("POST", "/escalations", begin, EscalationView),
        ("POST", "/escalations/stop", stop, EscalationView),
    ]
