"""How an accepted challenger comes to answer: a thin adapter to experiments, which shadow, compare and promote."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from demur.errors import StoreError, StoreUnavailableError
from demur.serve.retrain._config import RolloutConfig, TaskConfig
from demur.serve.retrain._stages import rollout_name

if TYPE_CHECKING:
    from demur.store import ExperimentRow, RetrainRow, Store

CHALLENGER = "challenger"


def start_rollout(
    store: Store, row: RetrainRow, version: str, task: TaskConfig, now: datetime
) -> ExperimentRow | str:
    """Let a registered challenger judge in the champion's shadow; or why it cannot yet.

    What an earlier controller began is found again by its name.

    Parameters
    ----------
    row
        The retraining.
    version
        Of the challenger.
    task
        How it is tried, and whose labels are believed.
    now
        UTC.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; call it again.
    """
    from demur.serve.experiments import ArmConfig, ExperimentConfig, Move, create_experiment, move_experiment

    config, name = task.rollout, rollout_name(row)
    known = [one for one in store.experiments(row.task) if one.name == name]
    if known:
        experiment = known[0]
    else:
        values: dict[str, Any] = {} if config.guards is None else {"guards": config.guards}
        settings = ExperimentConfig(
            name=name,
            task=row.task,
            challengers=(ArmConfig(name=CHALLENGER, version=version, weight=config.share),),
            champion_weight=1 - config.share,
            threat_labels=tuple(row.facts["threat_labels"]),
            sources=task.labels.sources,
            confirm_moves=config.confirm_moves,
            promote=config.promote,
            roll_back=config.roll_back,
            shadow=config.shadow,
            max_hours=config.max_hours,
            **values,
        )
        experiment = create_experiment(store, settings, now)
    if experiment.stage != "draft":
        return experiment
    try:
        return move_experiment(store, experiment.id, Move("shadow", reason=name), now)
    except StoreUnavailableError:
        raise
    except StoreError as error:  # another experiment of the task is under way
        return str(error)


def look_at_rollout(
    store: Store, row: RetrainRow, config: RolloutConfig, now: datetime
) -> tuple[str, dict[str, Any]]:
    """The stage that a retraining is in by its experiment, and what to note of it.

    A shadow that sees too few rows for too long is stopped here; everything else experiments decide.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; call it again.
    """
    from demur.serve.experiments import Move, move_experiment

    experiment = store.experiment(row.facts["experiment"])
    if experiment is None:
        return "stopped", {"reason": "its experiment is no longer in the store"}
    moves = experiment.state.get("moves", {})
    if experiment.stage == "shadow":
        since = datetime.fromisoformat(moves["shadow"]["at"])
        if now - since > timedelta(hours=config.max_shadow_hours):
            reason = f"too few rows in {config.max_shadow_hours:g} hours as a shadow"
            experiment = move_experiment(store, experiment.id, Move("stopped", reason=reason), now)
            moves = experiment.state.get("moves", {})
    if experiment.stage in ("draft", "shadow"):
        return "shadow", {}
    if experiment.stage == "running":
        return "ab", {}
    made = moves.get(experiment.stage, {"facts": {}, "actor": "system"})
    reason = made["facts"].get("reason") or f"its experiment is {experiment.stage}"
    return experiment.stage, {"reason": reason, "by": made["actor"]}
