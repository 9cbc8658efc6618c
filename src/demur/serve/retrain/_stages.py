"""Stages of a retraining, and the two things that people do with it: ask for one, stop one.

::

    requested ─▶ gathering ─▶ training ─▶ comparing ─▶ registering ─▶ shadow ─▶ ab ─▶ promoted
                                             └─▶ rejected      (rolled_back from shadow and ab)

A stage is the step that is being done: everything before it is done. From any of them a retraining may end as
``stopped`` or ``failed``; ``merged`` is a request that came while another of its task was under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from demur.errors import StoreError, StoreUnavailableError, UnknownRowError

if TYPE_CHECKING:
    from demur.store import ExperimentRow, RetrainRow, Store

REQUESTED, GATHERING, TRAINING, COMPARING = "requested", "gathering", "training", "comparing"
REGISTERING, SHADOW, AB = "registering", "shadow", "ab"
ACTIVE = (GATHERING, TRAINING, COMPARING, REGISTERING, SHADOW, AB)
OPEN = (REQUESTED, *ACTIVE)
ENDED = ("promoted", "rejected", "rolled_back", "stopped", "failed", "merged")
_TRIES = 5
_AUDITED = ("reason", "experiment", "challenger", "started_at")


def request_retrain(
    store: Store, task: str, cause: str, now: datetime, actor: str = "system", *, is_urgent: bool = False
) -> RetrainRow:
    """Ask for a retraining; the controller begins it.

    Parameters
    ----------
    cause
        ``command``, ``schedule``, or another word.
    now
        UTC.
    actor
        Who asks: a key's id, or ``system``.
    is_urgent
        Do not wait for the cool-down; the most a day still holds.

    Raises
    ------
    StoreError
        One of the task is under way; stop it first, or wait for it.
    StoreUnavailableError
        The database does not answer; nothing was asked for.
    """
    from demur.store import RetrainRow

    for row in open_retrains(store, task):
        raise StoreError(
            f"retraining '{row.id}' of task '{task}' is {row.stage}; wait for it, or stop it with: "
            f"demur retrain stop CONFIG {row.id}"
        )
    facts = {"cause": cause, "actor": actor, "is_urgent": is_urgent, "history": [[REQUESTED, now.isoformat()]]}
    row = RetrainRow(task=task, stage=REQUESTED, at=now, facts=facts)
    store.audit(actor, "retrain.requested", row.id, {"task": task, "cause": cause, "is_urgent": is_urgent})
    store.add_retrain(row)
    return row


def open_retrains(store: Store, task: str | None = None) -> list[RetrainRow]:
    """Retrainings that have not ended, the oldest first."""
    found = [row for stage in OPEN for row in store.retrains(task, stage=stage)]
    return sorted(found, key=lambda row: (row.at, row.id))


def find_retrain(store: Store, id: str) -> RetrainRow:
    """A retraining.

    Raises
    ------
    UnknownRowError
        There is none of this id.
    """
    row = store.retrain(id)
    if row is None:
        raise UnknownRowError(f"there is no retraining '{id}' in the store; list them first")
    return row


def move_retrain(
    store: Store, row: RetrainRow, stage: str, now: datetime, facts: Mapping[str, Any] | None = None
) -> RetrainRow:
    """Bring a retraining into its next stage, on the system's word; the audit log is written first.

    Raises
    ------
    StoreError
        It has left the stage that ``row`` says, for instance because it was stopped.
    StoreUnavailableError
        The database does not answer; nothing was changed.
    """
    if find_retrain(store, row.id).stage != row.stage:
        raise StoreError(f"retraining '{row.id}' is no longer {row.stage}; nothing was changed")
    new = dict(facts or {})
    brief = {name: value for name, value in new.items() if name in _AUDITED}
    store.audit("system", f"retrain.{stage}", row.id, {"task": row.task, "from": row.stage, **brief})
    return _write(store, row, stage, now, new)


def stop_retrain(store: Store, id: str, now: datetime, actor: str = "system", reason: str = "") -> RetrainRow:
    """End a retraining where it is: its process is killed, its shadow or A/B test stopped, the champion stays.

    Its experiment is stopped first: of a stop and a promotion at once one wins.

    Raises
    ------
    UnknownRowError
        There is none of this id.
    StoreError
        It has ended already, or its challenger was promoted; roll the experiment back.
    StoreUnavailableError
        The database does not answer; it goes on, or ends as stopped if its experiment was stopped already.
    """
    for attempt in range(_TRIES):
        row = find_retrain(store, id)
        if attempt and row.stage == "stopped":  # by the controller, which saw the experiment stopped here
            return row
        if row.stage in ENDED:
            raise StoreError(f"retraining '{id}' is {row.stage} already; there is nothing to stop")
        said = f"stopped by {actor}{f': {reason}' if reason else ''}"
        stop_experiment(store, row, now, actor)
        promoted = promoted_experiment(store, row)
        if promoted is not None:
            raise StoreError(
                f"the challenger of retraining '{id}' was promoted already; to have the old champion back, roll "
                f"experiment '{promoted.id}' back: POST /admin/experiments/{promoted.id}/rollback"
            )
        store.audit(actor, "retrain.stopped", id, {"task": row.task, "from": row.stage, "reason": reason})
        try:
            stopped = _write(store, row, "stopped", now, {"reason": said})
        except StoreUnavailableError:
            raise
        except StoreError:  # it went on meanwhile
            continue
        stop_experiment(store, stopped, now, actor)  # one that was begun meanwhile
        return stopped
    raise StoreError(f"retraining '{id}' went from stage to stage while it was to be stopped; try again")


def stop_experiment(store: Store, row: RetrainRow, now: datetime, actor: str = "system") -> bool:
    """Stop the shadow or A/B test of a retraining that ends; whether one was under way.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; the controller does it later.
    """
    from demur.serve.experiments import Move, move_experiment

    is_any = False
    for experiment in _experiments(store, row):
        if experiment.stage not in ("draft", "shadow", "running"):
            continue
        try:
            move_experiment(store, experiment.id, Move("stopped", actor, f"retraining {row.id} has ended"), now)
            is_any = True
        except StoreUnavailableError:
            raise
        except StoreError:  # it ended by itself meanwhile
            continue
    return is_any


def promoted_experiment(store: Store, row: RetrainRow) -> ExperimentRow | None:
    """The experiment of a retraining that made its challenger the champion.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; call it again.
    """
    return next((one for one in _experiments(store, row) if one.stage == "promoted"), None)


def _experiments(store: Store, row: RetrainRow) -> list[ExperimentRow]:
    return [one for one in store.experiments(row.task) if one.name == rollout_name(row)]


def rollout_name(row: RetrainRow) -> str:
    """Name of a retraining's experiment, by which it is found wherever its controller was killed."""
    return f"retraining {row.id}"


def _write(store: Store, row: RetrainRow, stage: str, now: datetime, facts: Mapping[str, Any]) -> RetrainRow:
    history = [*row.facts.get("history", []), [stage, now.isoformat()]]
    ended_at = now if stage in ENDED else None
    return store.update_retrain(
        row.id, stage=stage, facts={**row.facts, **facts, "history": history}, ended_at=ended_at, was=row.stage
    )
