"""What the page shows of the store, read in one go; a part that cannot be read does not keep the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from demur.errors import DemurError, StoreUnavailableError
from demur.serve.dashboard._span import Span, Steps

if TYPE_CHECKING:
    from demur.serve.dashboard._config import DashboardConfig
    from demur.serve.experiments import ExperimentView
    from demur.serve.monitor import TaskView
    from demur.store import (
        DriftRunRow,
        ModelRow,
        PredictionRow,
        RetrainRow,
        StepSummary,
        Store,
        TrafficSummary,
    )

_LOG = logging.getLogger(__name__)
_RUNS, _EXPERIMENTS, _RETRAINS, _MODELS, _TASKS = 40, 12, 15, 50, 12
T = TypeVar("T")


@dataclass
class Snapshot:
    """What the store told at one moment."""

    at: datetime
    span: Span
    steps: Steps
    tasks: dict[str, list[StepSummary]] = field(default_factory=dict)
    """Task to its steps."""
    traffic: list[TrafficSummary] = field(default_factory=list)
    feedback: int = 0
    watches: list[TaskView] = field(default_factory=list)
    runs: dict[str, list[DriftRunRow]] = field(default_factory=dict)
    """Task to its newest drift runs, the newest first."""
    experiments: list[ExperimentView] = field(default_factory=list)
    models: list[ModelRow] = field(default_factory=list)
    models_left_out: int = 0
    retrains: list[RetrainRow] = field(default_factory=list)
    flagged: list[PredictionRow] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    """Part of the page to why it could not be read."""
    window_s: float | None = None
    """Seconds after which the monitor looks at a window of few new answers too; None: it waits for enough."""


def gather(
    store: Store,
    config: DashboardConfig,
    span: Span,
    now: datetime,
    served: Sequence[str],
    *,
    has_texts: bool = False,
) -> Snapshot:
    """Read everything that the page shows; a few hundred short statements, whatever the number of rows.

    Parameters
    ----------
    served
        Tasks that are answered; those of the registry's champions come after them.
    has_texts
        Whether excerpts of texts may be read.

    Raises
    ------
    StoreUnavailableError
        The database does not answer.
    """
    found = Snapshot(now, span, span.steps(now))
    first = found.steps[0][0]

    def read(part: str, reader: Callable[[], T], otherwise: T) -> T:
        return _read_part(found.problems, part, reader, otherwise)

    models: list[ModelRow] = read("models", partial(store.models), [])
    found.models, found.models_left_out = _newest_models(models)
    tasks = dict.fromkeys([*served, *(row.task for row in models if row.stage == "champion")])
    for task in list(tasks)[:_TASKS]:
        found.tasks[task] = read("answers", partial(store.summarise, task, found.steps, config.step_rows), [])
        found.runs[task] = read("drift", partial(store.drift_runs, task, limit=_RUNS), [])
    found.traffic = read("traffic", lambda: store.summarise_traffic(found.steps), [])
    found.feedback = read("traffic", lambda: store.count_feedback(first), 0)
    found.watches = read("drift", lambda: _watches(store), [])
    found.experiments = read("experiments", lambda: _experiments(store), [])
    found.retrains = read("retraining", lambda: store.retrains(limit=_RETRAINS), [])
    excerpt = config.excerpt + 1 if has_texts else 0
    found.flagged = read("flagged", lambda: store.newest_flagged(first, config.flagged, excerpt=excerpt), [])
    return found


def _read_part(problems: dict[str, str], part: str, reader: Callable[[], T], otherwise: T) -> T:
    try:
        return reader()
    except StoreUnavailableError:
        raise
    except DemurError as error:
        problems[part] = str(error)
    except Exception as error:  # a row that another version wrote; its message may quote it
        _LOG.warning("%s cannot be shown (%s)", part, type(error).__name__)
        problems[part] = f"what the store holds of it cannot be read ({type(error).__name__})"
    return otherwise


def _newest_models(rows: Sequence[ModelRow]) -> tuple[list[ModelRow], int]:
    """Champions first, then what is tried, then the newest of the rest; and how many are left out."""
    order: Mapping[str, int] = {"champion": 0, "challenger": 1, "shadow": 1}
    sorted_rows = sorted(rows, key=lambda row: (order.get(row.stage, 2), -row.at.timestamp(), row.task))
    return sorted_rows[:_MODELS], max(0, len(sorted_rows) - _MODELS)


def _watches(store: Store) -> list[Any]:
    from demur.serve.monitor import show_tasks

    return list(show_tasks(store))


def _experiments(store: Store) -> list[Any]:
    from demur.serve.experiments import show_experiments

    return list(show_experiments(store, limit=_EXPERIMENTS))
