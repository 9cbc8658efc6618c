"""An experiment as people and pages see it: arms and figures, the interval of the difference, guard rails."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field

from demur.errors import UsageError
from demur.metrics import capital_bounds
from demur.serve.experiments._config import CHAMPION, ExperimentConfig
from demur.serve.experiments._evaluate import current_weights
from demur.serve.experiments._metrics import METRICS
from demur.serve.experiments._moves import config_of
from demur.serve.experiments._streams import Streams
from demur.serve.experiments._verdict import is_breached_by_all

if TYPE_CHECKING:
    from demur.store import ExperimentRow, Store

_SHOWN_KEYS = 10


class Figure(BaseModel):
    """A mean of an arm."""

    n: int = Field(description="Rows that count.")
    mean: float | None
    low: float | None = Field(description="Of an interval that holds at all times; null for times.")
    high: float | None


class ArmView(BaseModel):
    """An arm with its figures."""

    name: str
    version: str | None
    weight: float
    rows: int = Field(description="Answers since the stage began.")
    metrics: dict[str, Figure]
    latency_p95_ms: float | None
    latency_p95_low_ms: float | None
    latency_p95_high_ms: float | None


class DifferenceView(BaseModel):
    """A challenger less the champion, by the metric that the experiment is judged by."""

    arm: str
    metric: str
    is_better_high: bool
    is_paired: bool
    estimate: float | None
    low: float
    high: float
    level: float = Field(description="Chance that the interval never misses, however often it is looked at.")
    e_value: float
    p_value: float
    n: int = Field(description="Blocks, or pairs.")
    is_consistent: bool
    confirmed_low: float = Field(description="The smallest low, also without the users' labels of any one key.")
    confirmed_high: float = Field(description="The largest high, likewise; experiments move by these two.")


class GuardView(BaseModel):
    """A guard rail of a challenger."""

    arm: str
    guard: str
    estimate: float | None
    low: float = Field(description="The rate, or its excess, is at least this.")
    n: int
    p_value: float | None = Field(description="Always-valid, of the bound; null for a bound on the excess.")
    is_breached: bool = Field(description="Of labelled rates: also without the users' labels of any one key.")


class KeyView(BaseModel):
    """A key that users' labels came with."""

    key: str | None
    labels: int = Field(description="Labels of answers of this stage that came with it.")
    share: float = Field(description="Of all users' labels.")


class ExperimentView(BaseModel):
    """An experiment."""

    id: str
    name: str
    task: str
    stage: str
    at: datetime
    ended_at: datetime | None
    metric: str
    arms: list[ArmView]
    differences: list[DifferenceView]
    guards: list[GuardView]
    is_balanced: bool | None
    keys: list[KeyView] = Field(
        default=[], description="Who labelled most; nothing moves by the labels of one of them alone."
    )
    figures_of: str | None = Field(description="The stage that the figures are of: shadow or running.")
    config: dict[str, Any]
    problem: str | None = Field(default=None, description="Why it cannot be read, where another version wrote it.")


class EventView(BaseModel):
    """A line of an experiment's history."""

    at: datetime
    kind: str
    facts: dict[str, Any]


def show_experiment(store: Store, row: ExperimentRow) -> ExperimentView:
    """An experiment with its figures as the last evaluation left them.

    Raises
    ------
    ConfigError, DataError
        Another version of demur wrote it.
    StoreUnavailableError
        The database does not answer.
    """
    config = config_of(row)
    stages = row.state.get("stages", {})
    stage = next((one for one in ("running", "shadow") if one in stages), None)
    if row.stage == "running" and stage == "shadow":
        stage = None  # nothing of the A/B test was evaluated yet
    streams = None if stage is None else Streams.from_json(config, stages[stage]["streams"])
    weights = current_weights(store, row, config)
    return ExperimentView(
        id=row.id,
        name=row.name,
        task=row.task,
        stage=row.stage,
        at=row.at,
        ended_at=row.ended_at,
        metric=config.metric,
        arms=[_arm(row, config, streams, arm, weights[arm]) for arm in config.arms],
        differences=[] if streams is None else [_difference(streams, arm) for arm in config.arms[1:]],
        guards=[] if streams is None else _guards(config, streams),
        is_balanced=None if streams is None else streams.is_balanced,
        keys=[] if streams is None else _keys(streams),
        figures_of=stage,
        config={name: value for name, value in row.config.items() if name != "salt"},
    )


def show_experiments(store: Store, task: str | None = None, limit: int | None = None) -> list[ExperimentView]:
    """Experiments, the newest first; of one that cannot be read, what can.

    Raises
    ------
    StoreUnavailableError
        The database does not answer.
    """
    views = []
    for row in store.experiments(task, limit=limit):
        try:
            views.append(show_experiment(store, row))
        except UsageError as error:
            known = {name: getattr(row, name) for name in ("id", "name", "task", "stage", "at", "ended_at")}
            views.append(
                ExperimentView(
                    **known,
                    metric=str(row.config.get("metric")),
                    arms=[],
                    differences=[],
                    guards=[],
                    is_balanced=None,
                    figures_of=None,
                    config={},
                    problem=str(error),
                )
            )
    return views


def _arm(
    row: ExperimentRow, config: ExperimentConfig, streams: Streams | None, arm: str, weight: float
) -> ArmView:
    version = row.state.get("champion") if arm == CHAMPION else config.version_of(arm)
    metrics = {} if streams is None else {name: _figure(config, streams, arm, name) for name in METRICS}
    low, high = (None, None) if streams is None else streams.latency[arm].interval()
    return ArmView(
        name=arm,
        version=version,
        weight=weight,
        rows=0 if streams is None else streams.rows[arm],
        metrics={name: one for name, one in metrics.items() if one.n},
        latency_p95_ms=None if streams is None else streams.latency[arm].estimate(),
        latency_p95_low_ms=low,
        latency_p95_high_ms=high,
    )


def _figure(config: ExperimentConfig, streams: Streams, arm: str, metric: str) -> Figure:
    n, total = streams.tallies[arm].get(metric, [0, 0.0])
    if not n:
        return Figure(n=0, mean=None, low=None, high=None)
    if metric == "latency_ms":
        return Figure(n=int(n), mean=total / n, low=None, high=None)
    low, high = capital_bounds(np.asarray([0.0, 1.0]), np.asarray([n - total, total]), config.level)
    return Figure(n=int(n), mean=total / n, low=low, high=high)


def _difference(streams: Streams, arm: str) -> DifferenceView:
    one = streams.tests[arm]
    found = one.test.result()
    views = [each.tests[arm].test.result() for each in streams.views(one.metric)]
    return DifferenceView(
        arm=arm,
        metric=one.metric,
        is_better_high=METRICS[one.metric].is_better_high,
        is_paired=one.is_paired,
        confirmed_low=min(each.low for each in views),
        confirmed_high=max(each.high for each in views),
        **found.to_json(),
    )


def _keys(streams: Streams) -> list[KeyView]:
    total = sum(count for _, count in streams.keys.values())
    most = sorted(streams.keys, key=lambda key: (-streams.keys[key][1], key))[:_SHOWN_KEYS]
    counts = {key: streams.keys[key][1] for key in most}
    return [KeyView(key=key or None, labels=count, share=count / total) for key, count in counts.items()]


def _guards(config: ExperimentConfig, streams: Streams) -> list[GuardView]:
    views = []
    for arm, tests in streams.guards.items():
        for number, (guard, test) in enumerate(zip(config.guards, tests, strict=True)):
            found = test.test.result()
            views.append(
                GuardView(
                    arm=arm,
                    guard=guard.title,
                    estimate=found.estimate,
                    low=found.low,
                    n=found.n,
                    p_value=None if guard.at_most is None else found.p_value,
                    is_breached=is_breached_by_all(streams, arm, number),
                )
            )
    return views
