"""How an experiment goes from stage to stage: only by legal moves, once, and with everything that follows from it.

::

    draft ──▶ shadow ──▶ running ──▶ promoted ──▶ rolled_back
      │         │  └────────│─────────▶ ▲   (promoted also straight from shadow)
      └─────────┴───────────┴──▶ stopped, and rolled_back from shadow and running

The move itself is one compare-and-set in the store: of two who move an experiment at once one wins. What follows
(audit log, registry, event) can be done again: whoever finds a move without its event finishes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from demur.config import parse_settings
from demur.errors import StoreError, UnknownRowError, UsageError
from demur.serve.experiments._config import ExperimentConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demur.store import ExperimentRow, ExperimentStage, Store

LEGAL: Mapping[str, frozenset[str]] = {
    "draft": frozenset({"shadow", "running", "stopped"}),
    "shadow": frozenset({"running", "promoted", "rolled_back", "stopped"}),
    "running": frozenset({"promoted", "rolled_back", "stopped"}),
    "promoted": frozenset({"rolled_back"}),
    "rolled_back": frozenset(),
    "stopped": frozenset(),
}
"""Stage to the stages that may follow."""
ACTIVE: tuple[ExperimentStage, ...] = ("shadow", "running")
ENDED: tuple[ExperimentStage, ...] = ("promoted", "rolled_back", "stopped")
_WAIT_S, _LEASE_S = 5.0, 30.0
Tell = Callable[[str, Mapping[str, Any]], None]
"""Is told of what the system did by itself: a kind, such as ``experiment.rolled_back``, and facts."""


@dataclass(frozen=True)
class Move:
    """Where an experiment is to go, and on whose word."""

    to: ExperimentStage
    actor: str = "system"
    reason: str = ""
    arm: str | None = None
    """Who is promoted; may be left out where there is one challenger."""
    facts: dict[str, Any] = field(default_factory=dict)


def config_of(row: ExperimentRow) -> ExperimentConfig:
    """The configuration an experiment was made with.

    Raises
    ------
    ConfigError
        It cannot be read; another version wrote it.
    """
    return parse_settings(ExperimentConfig, row.config, f"the configuration of experiment {row.id}")


def find_experiment(store: Store, id: str) -> ExperimentRow:
    """An experiment.

    Raises
    ------
    UnknownRowError
        There is none of this id.
    """
    row = store.experiment(id)
    if row is None:
        raise UnknownRowError(f"there is no experiment '{id}' in the store; list them first")
    return row


def move_experiment(store: Store, id: str, move: Move, now: datetime, tell: Tell | None = None) -> ExperimentRow:
    """Bring an experiment into a stage; nothing happens where it is in it already.

    Parameters
    ----------
    now
        UTC.
    tell
        Told of the move where the system made it.

    Raises
    ------
    UnknownRowError
        There is no such experiment, or the registry lacks one of its versions.
    StoreError
        The move is not legal from the stage it is in, another experiment of the task is under way, or somebody
        else was first; look at it again.
    """
    row = find_experiment(store, id)
    if row.stage != move.to:
        if move.to in ACTIVE:
            with _alone(store, row.task):
                row = _change(store, find_experiment(store, id), move, now)
        else:
            row = _change(store, row, move, now)
    finish_move(store, row, tell)
    return row


def _change(store: Store, row: ExperimentRow, move: Move, now: datetime) -> ExperimentRow:
    """The compare-and-set; the row as it is afterwards."""
    if row.stage == move.to:
        return row
    if move.to not in LEGAL[row.stage]:
        to = ", ".join(sorted(LEGAL[row.stage])) or "nothing: it has ended"
        raise StoreError(f"experiment '{row.id}' is {row.stage} and cannot become {move.to}; it may become {to}")
    config = config_of(row)
    state = dict(row.state)
    if move.to in ACTIVE:
        state["champion"] = _check_start(store, row, config)
    facts: dict[str, Any] = {"from": row.stage, "reason": move.reason, **move.facts}
    if move.to == "promoted":
        facts["arm"] = promoted_arm(config, move.arm)
        facts["version"] = config.version_of(facts["arm"])
    elif move.arm is not None:
        facts["arm"] = move.arm
    made = {"at": now.isoformat(), "actor": move.actor, "facts": facts}
    state["stages"] = {stage: slim_stage(one) for stage, one in state.get("stages", {}).items()}
    state["moves"] = {**state.get("moves", {}), move.to: made}
    ended_at = now if move.to in ENDED else None
    try:
        return store.update_experiment(row.id, stage=move.to, state=state, ended_at=ended_at, was=row.stage)
    except StoreError:
        found = find_experiment(store, row.id)  # somebody was first; the same move is as good
        if found.stage != move.to:
            raise
        return found


def slim_stage(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a stage that is over: its figures, without the memory of who was counted."""
    return {**saved, "streams": _slim_streams(saved["streams"])}


def _slim_streams(streams: Mapping[str, Any]) -> dict[str, Any]:
    slim = {name: one for name, one in streams.items() if name not in ("seen", "pairs")}
    return slim if "without" not in slim else slim | {"without": [_slim_streams(one) for one in slim["without"]]}


def _check_start(store: Store, row: ExperimentRow, config: ExperimentConfig) -> str:
    """The champion's version, where the experiment may begin."""
    for other in store.experiments(row.task):
        if other.stage in ACTIVE and other.id != row.id:
            raise StoreError(
                f"experiment '{other.id}' ({other.name}) of task '{row.task}' is {other.stage}; end it first"
            )
    champion = store.champion(row.task)
    if champion is None:
        raise StoreError(f"task '{row.task}' has no champion to compare with; make one first")
    known = row.state.get("champion", champion.version)
    if known != champion.version:
        raise StoreError(f"the champion of task '{row.task}' is another since; stop this experiment")
    for arm in config.challengers:
        if arm.version == champion.version:
            raise StoreError(f"arm '{arm.name}' is the champion itself; give another version")
        if store.model(row.task, arm.version) is None:
            raise UnknownRowError(
                f"the registry has no version '{arm.version}' of task '{row.task}' (arm '{arm.name}'); register it"
            )
    return champion.version


def promoted_arm(config: ExperimentConfig, arm: str | None) -> str:
    """The challenger that is meant; the only one where none is named.

    Raises
    ------
    UsageError
        There are several, or none of this name; name one.
    """
    names = config.arms[1:]
    if arm is None and len(names) == 1:
        return names[0]
    if arm not in names:
        raise UsageError(f"which arm is to be promoted? give one of {', '.join(names)}")
    return arm


@contextmanager
def _alone(store: Store, task: str) -> Iterator[None]:
    """Start experiments of a task one at a time."""
    from demur.store import new_id

    name, holder, until = f"experiments/{task}", new_id(), time.monotonic() + _WAIT_S
    while store.lease(name, holder, _LEASE_S) is None:
        if time.monotonic() > until:
            raise StoreError(f"another experiment of task '{task}' is being started; try again")
        time.sleep(0.05)
    try:
        yield
    finally:
        store.release(name, holder)


def finish_move(store: Store, row: ExperimentRow, tell: Tell | None = None) -> bool:
    """Do what follows from the move that an experiment made last, unless it is done; whether there was anything.

    The event comes last and marks it as done; each part before it may be done twice without harm.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; call it again later.
    """
    from demur.store import ExperimentEvent

    made = row.state.get("moves", {}).get(row.stage)
    if made is None or any(one.id == f"{row.id}/{row.stage}" for one in store.events(row.id, kind=row.stage)):
        return False
    facts, act, at = dict(made["facts"]), f"experiment.{row.stage}", datetime.fromisoformat(made["at"])
    if not store.audit_log(act=act, target=row.id, limit=1):
        store.audit(made["actor"], act, row.id, {"name": row.name, "task": row.task, **facts})
    skipped = _apply(store, row, config_of(row), facts)
    if skipped:
        facts["skipped"] = skipped
    if tell is not None and made["actor"] == "system":
        tell(act, {"experiment": row.id, "name": row.name, "task": row.task, **facts})
    store.add_event(
        ExperimentEvent(id=f"{row.id}/{row.stage}", experiment=row.id, kind=row.stage, facts=facts, at=at)
    )
    return True


def _apply(store: Store, row: ExperimentRow, config: ExperimentConfig, facts: Mapping[str, Any]) -> str | None:
    """Bring the registry in line with a stage; why something was left as it is, if so."""
    before = row.state.get("champion")
    champion = store.champion(row.task)
    version = champion.version if champion is not None else None
    others = [arm.version for arm in config.challengers]
    skipped = None
    if row.stage == "promoted":
        others.remove(facts["version"])
        if version in (before, None):
            store.set_stage(row.task, facts["version"], "champion")
            version = facts["version"]
        elif version != facts["version"]:
            skipped = f"the champion is {version} by now, and stays"
    promoted = row.state.get("moves", {}).get("promoted")
    if row.stage == "rolled_back" and promoted is not None:
        if version == promoted["facts"]["version"] and before is not None:
            store.set_stage(row.task, before, "champion")
            version = before
        else:
            skipped = f"the champion is {version} by now, and stays"
    stages: Mapping[str, Any] = {"shadow": "shadow", "promoted": "retired", "rolled_back": "rejected"}
    for other in others:
        if other != version and store.model(row.task, other) is not None:
            store.set_stage(row.task, other, stages.get(row.stage, "challenger"))
    return skipped
