"""``/admin/retrain``: ask for a retraining, list them, show one, stop one."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from demur.errors import UsageError, near_match
from demur.serve.retrain._config import TaskName
from demur.serve.retrain._stages import find_retrain, request_retrain, stop_retrain

if TYPE_CHECKING:
    from fastapi import APIRouter

    from demur.serve.api import Parts
    from demur.store import RetrainRow

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_BRIEF = ("cause", "reason", "champion", "challenger", "experiment", "waits_for", "started_at", "failed_while")


class RetrainView(BaseModel):
    """A retraining."""

    id: str
    task: str
    stage: str = Field(description="The step that is being done, or how it ended.")
    at: datetime
    ended_at: datetime | None
    facts: dict[str, Any] = Field(description="What was gathered, trained and compared; never a text.")


class RetrainViews(BaseModel):
    """Retrainings, the newest first, each in brief."""

    retrains: list[RetrainView]


class NewRetrain(BaseModel, extra="forbid", frozen=True):
    """What to retrain."""

    task: TaskName = Field(description="One of those that the configuration retrains.", examples=["refusal"])
    now: bool = Field(default=False, strict=True, description="Do not wait for the cool-down.")


class StopRetrain(BaseModel, extra="forbid", frozen=True):
    """Why."""

    reason: Annotated[str, StringConstraints(max_length=500)] = Field(default="", description="For the audit log.")


def view_retrain(row: "RetrainRow", *, is_brief: bool = False) -> RetrainView:
    """A row as it is shown; in brief without what was gathered, trained and compared."""
    facts = {name: row.facts[name] for name in _BRIEF if name in row.facts} if is_brief else row.facts
    return RetrainView(id=row.id, task=row.task, stage=row.stage, at=row.at, ended_at=row.ended_at, facts=facts)


def check_task(task: str, known: list[str]) -> None:
    """Refuse a task that the configuration does not retrain.

    Raises
    ------
    UsageError
        It does not; add it under ``retrain.tasks``.
    """
    if task not in known:
        raise UsageError(
            f"the configuration retrains no task '{task}' (it has: {', '.join(known) or 'none'}); add it under "
            f"retrain.tasks{near_match(task, known)}"
        )


def router(parts: "Parts") -> "APIRouter":
    """The routes; every one takes a key of scope ``admin``, and every act is in the audit log.

    Parameters
    ----------
    parts
        Of the application that includes them.
    """
    from fastapi import Query, Request

    from demur.serve.api import error_responses, get_call, guard_router, needs

    made, store, config = guard_router("/admin/retrain", ["admin"]), parts.store, parts.config.retrain

    def actor(request: Request) -> str:
        return get_call(request).caller.key_id or "unknown"

    def show_all(
        task: Annotated[TaskName | None, Query()] = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> RetrainViews:
        """List retrainings in brief, the newest first."""
        return RetrainViews(
            retrains=[view_retrain(row, is_brief=True) for row in store.retrains(task, limit=limit)]
        )

    def show(id: Id) -> RetrainView:
        """Show a retraining: what was gathered, and every guarded slice that it was compared on."""
        return view_retrain(find_retrain(store, id))

    def request_new(body: NewRetrain, request: Request) -> RetrainView:
        """Ask for a retraining; the controller begins it."""
        check_task(body.task, sorted(config.tasks))
        return view_retrain(
            request_retrain(store, body.task, "command", datetime.now(UTC), actor(request), is_urgent=body.now)
        )

    def stop(id: Id, body: StopRetrain, request: Request) -> RetrainView:
        """Stop a retraining where it is, with its shadow or A/B test; the champion stays."""
        return view_retrain(stop_retrain(store, id, datetime.now(UTC), actor(request), body.reason))

    look = error_responses(401, 403, 404, 422, 429, 503)
    change = error_responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)
    every: list[tuple[str, str, Any, Any, Any]] = [
        ("GET", "", show_all, RetrainViews, look),
        ("POST", "", request_new, RetrainView, change),
        ("GET", "/{id}", show, RetrainView, look),
        ("POST", "/{id}/stop", stop, RetrainView, change),
    ]
    for method, path, endpoint, model, errors in every:
        made.add_api_route(
            path, endpoint, methods=[method], response_model=model, responses=errors, openapi_extra=needs("admin")
        )
    return made
