"""The controller's share: every running experiment is read, judged, and moved where that is due."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from demur.errors import DemurError, StoreError, StoreUnavailableError
from demur.serve.experiments._config import ExperimentConfig, ExperimentsConfig
from demur.serve.experiments._evaluate import Evaluation, evaluate, stage_since, weight_changes
from demur.serve.experiments._moves import ACTIVE, ENDED, Move, Tell, config_of, finish_move, move_experiment
from demur.serve.experiments._verdict import Verdict, reach_verdict

if TYPE_CHECKING:
    from demur.serve.experiments._streams import Streams
    from demur.store import ExperimentRow, Store

_LOG = logging.getLogger("demur.serve.experiments")
_UNFINISHED = timedelta(days=1)
"""How long after its end an experiment's last move is looked after."""
_MOST_ENDED = 10


@dataclass(frozen=True)
class StepReport:
    """What one evaluation did with one experiment."""

    experiment: str
    was: str
    """Stage before."""
    stage: str
    """Stage after."""
    rows: int = 0
    """Rows that were new."""
    reason: str | None = None
    """Why it was moved, or could not be evaluated."""


def step(
    store: Store, now: datetime, config: ExperimentsConfig | None = None, tell: Tell | None = None
) -> list[StepReport]:
    """Evaluate every experiment that is under way; one that cannot be evaluated keeps no other waiting.

    Two processes may call it at once: each experiment is evaluated under a lease of its own, and moved by a
    compare-and-set. A process that is killed in it loses nothing: what was not written is read again.

    Parameters
    ----------
    now
        UTC.
    config
        Lag, pages, and how long one evaluation may take.
    tell
        Told of what was done without a command, such as a webhook; default: the log.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; call it again later.
    """
    config, tell = config or ExperimentsConfig(), tell or tell_log
    holder = f"{socket.gethostname()}/{os.getpid()}/{threading.get_ident()}"
    reports = []
    for row in _due(store, now):
        name = f"experiment/{row.id}"
        if store.lease(name, holder, config.lease_s) is None:
            continue
        try:
            finish_move(store, row, tell)
            if row.stage in ACTIVE:
                reports.append(_step_one(store, row.id, now, config, tell))
        except StoreUnavailableError:
            raise
        except DemurError as error:
            _LOG.warning("experiment %s cannot be evaluated: %s", row.id, error)
            reports.append(StepReport(row.id, row.stage, row.stage, reason=str(error)))
        finally:
            store.release(name, holder)
    return reports


def _due(store: Store, now: datetime) -> list[ExperimentRow]:
    """Experiments under way, and those that ended a short time ago: their last move may not be finished."""
    found = [row for stage in ACTIVE for row in store.experiments(stage=stage)]
    for stage in ENDED:
        ended = store.experiments(stage=stage, limit=_MOST_ENDED)
        found += [row for row in ended if row.ended_at is not None and now - row.ended_at < _UNFINISHED]
    return found


def tell_log(kind: str, facts: Mapping[str, Any]) -> None:
    """Write what the system did into the log."""
    _LOG.warning("%s: experiment %s (%s): %s", kind, facts["experiment"], facts["name"], facts.get("reason"))


def _step_one(store: Store, id: str, now: datetime, settings: ExperimentsConfig, tell: Tell) -> StepReport:
    row = store.experiment(id)  # as it is now that nobody else evaluates it
    assert row is not None
    if row.stage not in ACTIVE:
        return StepReport(id, row.stage, row.stage)
    config = config_of(row)
    found = evaluate(store, row, config, settings, now)
    _say_imbalance(store, row, found.streams, tell)
    state = {
        **row.state,
        "stages": {**row.state.get("stages", {}), row.stage: found.state},
        "weights": [[at.isoformat(), weights] for at, weights in weight_changes(store, row)],
    }
    if state != row.state:
        try:
            row = store.update_experiment(id, state=state, was=row.stage)
        except StoreUnavailableError:
            raise
        except StoreError:  # moved by command meanwhile
            return StepReport(id, row.stage, store.experiment(id).stage)  # type: ignore[union-attr]
    verdict = _champion_changed(store, row) or _judge(row, config, found, now)
    if verdict is None:
        return StepReport(id, row.stage, row.stage, found.rows)
    move = Move(verdict.to, reason=verdict.reason, arm=verdict.arm, facts=verdict.facts)
    after = move_experiment(store, id, move, now, tell)
    return StepReport(id, row.stage, after.stage, found.rows, verdict.reason)


def _judge(row: ExperimentRow, config: ExperimentConfig, found: Evaluation, now: datetime) -> Verdict | None:
    hours = (now - stage_since(row)) / timedelta(hours=1)
    return reach_verdict(config, row.stage, found.streams, hours, is_behind=found.is_behind)


def _champion_changed(store: Store, row: ExperimentRow) -> Verdict | None:
    champion = store.champion(row.task)
    if champion is not None and champion.version == row.state.get("champion"):
        return None
    return Verdict("stopped", f"the champion of task '{row.task}' is another since the experiment began")


def _say_imbalance(store: Store, row: ExperimentRow, streams: Streams, tell: Tell) -> None:
    """Say once a stage that an arm does not get its share; no challenger is promoted then."""
    from demur.store import ExperimentEvent

    id = f"{row.id}/{row.stage}/imbalance"
    if streams.is_balanced or any(one.id == id for one in store.events(row.id, kind="imbalance")):
        return
    shares = {arm: one.result().to_json() for arm, one in streams.balance.items()}
    facts = {"reason": "arms do not get the shares they should; answers of one may be failing", "shares": shares}
    tell("experiment.imbalance", {"experiment": row.id, "name": row.name, "task": row.task, **facts})
    store.add_event(ExperimentEvent(id=id, experiment=row.id, kind="imbalance", facts=facts))
