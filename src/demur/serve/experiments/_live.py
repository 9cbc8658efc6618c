"""Who answers a request while experiments run: the router of a worker, brought up to date from the store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demur.errors import ConfigError
from demur.serve.experiments._arms import assign_arm, draw_arm
from demur.serve.experiments._config import CHAMPION, ExperimentConfig
from demur.serve.experiments._evaluate import current_weights
from demur.serve.experiments._moves import ACTIVE, config_of
from demur.serve.pool import Route, Shadow

if TYPE_CHECKING:
    from demur.store import ExperimentRow, Store

_PLAIN = Route()


@dataclass(frozen=True)
class LiveExperiment:
    """An experiment that takes part in answering."""

    id: str
    config: ExperimentConfig
    champion: str
    """Version of the champion it began with."""
    weights: Mapping[str, float]
    is_shadow: bool

    def route(self, subject: str | None) -> Route:
        """Who answers a subject; in the shadow stage the champion, with every challenger behind it."""
        if self.is_shadow:
            shadows = tuple(Shadow(arm.version, arm.name) for arm in self.config.challengers)
            return Route(self.champion, self.id, CHAMPION, shadows)
        if subject is None:
            arm = draw_arm(self.weights)
        else:
            arm = assign_arm(self.weights, subject, self.id, self.config.salt or "")
        return Route(self.champion if arm == CHAMPION else self.config.version_of(arm), self.id, arm)


def live_experiments(store: Store) -> dict[str, LiveExperiment]:
    """Task to the experiment that is under way.

    Raises
    ------
    StoreUnavailableError
        The database does not answer.
    """
    found: dict[str, LiveExperiment] = {}
    for stage in ACTIVE:
        for row in store.experiments(stage=stage):
            live = _live(store, row)
            if live is not None:
                found[row.task] = live
    return found


def _live(store: Store, row: ExperimentRow) -> LiveExperiment | None:
    """None for an experiment of another version of demur: the champion answers."""
    try:
        config = config_of(row)
    except ConfigError:
        return None
    champion = str(row.state.get("champion", ""))
    return LiveExperiment(row.id, config, champion, current_weights(store, row, config), row.stage == "shadow")


class ExperimentRouter:
    """The router of a worker (:class:`demur.serve.pool.Router`).

    A subject sees one arm of an experiment, in every worker and after every restart. A request without a subject
    is given an arm by chance.

    Parameters
    ----------
    store
        Where experiments are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._live: Mapping[str, LiveExperiment] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read which experiments are under way, and hand in the failures since.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; what was known holds on, and failures are kept.
        """
        self._live = live_experiments(self._store)
        self._hand_in()

    def wanted(self) -> Collection[tuple[str, str]]:
        """Task and version of every challenger."""
        return [(task, arm.version) for task, one in self._live.items() for arm in one.config.challengers]

    def route(self, task: str, subject: str | None) -> Route:
        """Who answers a task of one request."""
        live = self._live.get(task)
        return _PLAIN if live is None else live.route(subject)

    def failed(self, experiment: str | None, arm: str | None, count: int = 1) -> None:
        """Count items that an arm should have answered, or judged in the shadow, and could not.

        Parameters
        ----------
        experiment, arm
            Of the route; nothing is counted where there is none.
        """
        if experiment is not None and arm is not None:
            with self._lock:
                self._failures[experiment, arm] += count

    def _hand_in(self) -> None:
        from demur.store import ExperimentEvent

        with self._lock:
            waiting, self._failures = self._failures, Counter()
        for (experiment, arm), count in list(waiting.items()):
            try:
                facts = {"arm": arm, "count": count}
                self._store.add_event(ExperimentEvent(experiment=experiment, kind="failures", facts=facts))
            except BaseException:
                with self._lock:
                    self._failures.update(waiting)
                raise
            del waiting[experiment, arm]
