"""What people do with experiments: make one, change its weights. Going from stage to stage is in ``_moves``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from demur.errors import StoreError, UsageError
from demur.serve.experiments._config import ExperimentConfig
from demur.serve.experiments._evaluate import current_weights
from demur.serve.experiments._moves import ENDED, config_of, find_experiment
from demur.tasks import BUILT_IN

if TYPE_CHECKING:
    from demur.store import ExperimentRow, Store


def create_experiment(
    store: Store,
    config: ExperimentConfig,
    now: datetime,
    actor: str = "system",
    threat_labels: Sequence[str] | None = None,
) -> ExperimentRow:
    """Add an experiment as a draft; nobody is answered by it yet.

    Parameters
    ----------
    now
        UTC.
    actor
        Who asks for it: a key's id, or ``system``.
    threat_labels
        Of the task, where the configuration names none and the task is not built in.

    Raises
    ------
    UsageError
        The labels that are a threat are not known; name them.
    """
    from demur.store import ExperimentEvent, ExperimentRow, new_id

    threats = config.threat_labels or tuple(threat_labels or ())
    if not threats and config.task in BUILT_IN:
        threats = BUILT_IN[config.task].threat_labels
    if not threats:
        raise UsageError(f"which labels of task '{config.task}' are a threat? give threat_labels")
    filled = config.model_copy(
        update={"threat_labels": tuple(threats), "salt": config.salt or secrets.token_hex(16)}
    )
    id = new_id()
    values = filled.model_dump(mode="json")
    row = ExperimentRow(id=id, name=config.name, task=config.task, config=values, at=now)
    store.audit(actor, "experiment.draft", id, {"name": config.name, "task": config.task})
    store.add_experiment(row)
    facts = {"actor": actor, "arms": list(config.arms)}
    store.add_event(ExperimentEvent(id=f"{id}/draft", experiment=id, kind="draft", facts=facts, at=now))
    return row


def set_weights(
    store: Store, id: str, weights: Mapping[str, float], now: datetime, actor: str = "system"
) -> dict[str, float]:
    """Change shares of the traffic, and return all of them; subjects move only to or from arms that changed.

    Parameters
    ----------
    weights
        Arm to its new weight; those not named keep theirs.

    Raises
    ------
    UnknownRowError
        There is no such experiment.
    UsageError
        There is no such arm, or a weight is not above 0; an arm that shall get nothing ends the experiment.
    StoreError
        The experiment has ended.
    """
    from demur.store import ExperimentEvent

    row = find_experiment(store, id)
    if row.stage in ENDED:
        raise StoreError(f"experiment '{id}' is {row.stage}; its weights cannot be changed any more")
    config = config_of(row)
    for arm, weight in weights.items():
        if arm not in config.arms:
            raise UsageError(f"there is no arm '{arm}' (there are: {', '.join(config.arms)})")
        if not 0 < weight <= 1000:
            raise UsageError(f"weight {weight:g} of arm '{arm}' must lie above 0 and be at most 1000")
    now_all = current_weights(store, row, config)
    after = {arm: float(weights.get(arm, now_all[arm])) for arm in config.arms}
    if after == now_all:
        return after
    store.audit(actor, "experiment.weights", id, {"weights": after})
    store.add_event(
        ExperimentEvent(experiment=id, kind="weights", facts={"weights": after, "actor": actor}, at=now)
    )
    return after
