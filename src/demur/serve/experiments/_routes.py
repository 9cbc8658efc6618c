"""``/admin/experiments``: make, list, show, start, re-weight, stop, promote, roll back."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, StringConstraints

from demur.errors import DemurError
from demur.serve.api import ApiError, Parts, error_responses, get_call, guard_router, needs
from demur.serve.experiments._commands import create_experiment, set_weights
from demur.serve.experiments._config import ArmName, ExperimentConfig, TaskName
from demur.serve.experiments._moves import Move, config_of, find_experiment, move_experiment, promoted_arm
from demur.serve.experiments._show import EventView, ExperimentView, show_experiment, show_experiments

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Reason = Annotated[str, StringConstraints(max_length=500)]


class ExperimentViews(BaseModel):
    """Experiments, the newest first."""

    experiments: list[ExperimentView]


class EventViews(BaseModel):
    """An experiment's history, the oldest line first."""

    events: list[EventView]


class Weights(BaseModel, extra="forbid", frozen=True):
    """New shares of the traffic."""

    weights: dict[ArmName, Annotated[float, Field(gt=0, le=1000)]] = Field(
        min_length=1,
        max_length=9,
        description="Arm to weight; those not named keep theirs.",
        json_schema_extra={"additionalProperties": False},
        examples=[{"champion": 0.8, "challenger": 0.2}],
    )


class Start(BaseModel, extra="forbid", frozen=True):
    """How to begin."""

    stage: Literal["shadow", "running"] = Field(
        default="shadow", description="shadow: challengers judge, unheard; running: they answer their share."
    )
    reason: Reason = Field(default="", description="For the audit log.")


class End(BaseModel, extra="forbid", frozen=True):
    """Why."""

    reason: Reason = Field(default="", description="For the audit log.")


class Promotion(BaseModel, extra="forbid", frozen=True):
    """Who becomes the champion."""

    arm: ArmName | None = Field(default=None, description="May be left out where there is one challenger.")
    reason: Reason = Field(default="", description="For the audit log.")


def router(parts: Parts) -> APIRouter:
    """The routes; every one takes a key of scope ``admin``, and every act is in the audit log.

    Parameters
    ----------
    parts
        Of the application that includes them.
    """
    desk, made = _Desk(parts), guard_router("/admin/experiments", ["experiments"])
    look = error_responses(401, 403, 404, 422, 429, 503)
    change = error_responses(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)
    every: list[tuple[str, str, Any, Any, Any]] = [
        ("GET", "", desk.show_all, ExperimentViews, look),
        ("POST", "", desk.create, ExperimentView, change),
        ("GET", "/{id}", desk.show, ExperimentView, look),
        ("GET", "/{id}/events", desk.show_events, EventViews, look),
        ("POST", "/{id}/start", desk.start, ExperimentView, change),
        ("POST", "/{id}/weights", desk.change_weights, ExperimentView, change),
        ("POST", "/{id}/stop", desk.stop, ExperimentView, change),
        ("POST", "/{id}/promote", desk.promote, ExperimentView, change),
        ("POST", "/{id}/rollback", desk.roll_back, ExperimentView, change),
    ]
    for method, path, endpoint, model, errors in every:
        made.add_api_route(
            path, endpoint, methods=[method], response_model=model, responses=errors, openapi_extra=needs("admin")
        )
    return made


class _Desk:
    """Does what is asked for; its methods are the endpoints."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._store = parts, parts.store

    def show_all(
        self,
        task: Annotated[TaskName | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> ExperimentViews:
        """List experiments with their figures, the newest first."""
        return ExperimentViews(experiments=show_experiments(self._store, task, limit))

    def create(self, body: ExperimentConfig, request: Request) -> ExperimentView:
        """Add an experiment as a draft; nobody is answered by it yet."""
        task = self._parts.pool.state.tasks.get(body.task)
        threats = None if task is None else task.threat_labels
        return self.show(create_experiment(self._store, body, _now(), _actor(request), threats).id)

    def show(self, id: Id) -> ExperimentView:
        """Show an experiment: figures of each arm, and the interval of the difference, good at all times."""
        return show_experiment(self._store, find_experiment(self._store, id))

    def show_events(self, id: Id) -> EventViews:
        """Show an experiment's history."""
        events = self._store.events(find_experiment(self._store, id).id)
        return EventViews(events=[EventView(at=one.at, kind=one.kind, facts=one.facts) for one in events])

    def start(self, id: Id, body: Start, request: Request) -> ExperimentView:
        """Begin: as a shadow, or with the A/B test."""
        return self._move(id, Move(body.stage, _actor(request), body.reason))

    def change_weights(self, id: Id, body: Weights, request: Request) -> ExperimentView:
        """Change shares of the traffic; subjects move only to or from arms that changed."""
        set_weights(self._store, id, body.weights, _now(), _actor(request))
        self._parts.refresh()
        return self.show(id)

    def stop(self, id: Id, body: End, request: Request) -> ExperimentView:
        """End without a winner; the champion stays."""
        return self._move(id, Move("stopped", _actor(request), body.reason))

    def promote(self, id: Id, body: Promotion, request: Request) -> ExperimentView:
        """Make a challenger the champion; workers exchange models within the seconds of `refresh_s`.

        It is loaded first, and refused where that fails.
        """
        row = find_experiment(self._store, id)
        config = config_of(row)
        model = self._store.model(row.task, config.version_of(promoted_arm(config, body.arm)))
        if model is not None:
            try:
                self._parts.pool.check(model)
            except DemurError as error:
                raise ApiError(409, f"the model cannot be loaded, so the champion stays: {error}") from error
        return self._move(id, Move("promoted", _actor(request), body.reason, body.arm))

    def roll_back(self, id: Id, body: End, request: Request) -> ExperimentView:
        """Give the challengers up; after a promotion the champion before it answers again."""
        return self._move(id, Move("rolled_back", _actor(request), body.reason))

    def _move(self, id: str, move: Move) -> ExperimentView:
        move_experiment(self._store, id, move, _now())
        self._parts.refresh()
        return self.show(id)


def _now() -> datetime:
    return datetime.now(UTC)


def _actor(request: Request) -> str:
    return get_call(request).caller.key_id or "unknown"
