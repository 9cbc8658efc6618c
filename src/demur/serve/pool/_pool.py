"""The models in memory, and who is whose champion; exchanged while requests are answered, without dropping one.

A new model is loaded and warmed aside; then one assignment makes it the one that new requests see, and the old one
finishes what it has. Which models there should be is left to the registry in the store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demur.errors import DemurError
from demur.serve.pool._model import ServedModel
from demur.tasks import Task

if TYPE_CHECKING:
    from demur.store import ModelRow

_LOG = logging.getLogger(__name__)
_RETRY_S = 60.0
Load = Callable[["ModelRow"], ServedModel]


@dataclass(frozen=True)
class State:
    """The models at one moment; never changed, only replaced."""

    champions: Mapping[str, ServedModel] = field(default_factory=dict)
    """Task to the model that answers it."""
    models: Mapping[str, ServedModel] = field(default_factory=dict)
    """Version to model."""

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that are answered."""
        return {
            name: next(task for task in model.tasks if task.name == name) for name, model in self.champions.items()
        }

    def find(self, task: str, version: str | None) -> ServedModel:
        """The model of a version, or the champion where there is none, or it does not answer the task."""
        found = self.models.get(version) if version is not None else None
        if found is None or all(one.name != task for one in found.tasks):
            return self.champions[task]
        return found


class Pool:
    """The models in memory.

    Parameters
    ----------
    load
        Loads and warms a model of the registry.
    grace_s
        How long a replaced model may take to finish what it has.
    """

    def __init__(self, load: Load, grace_s: float = 30.0) -> None:
        self._load, self._grace_s = load, grace_s
        self._lock = threading.Lock()
        self._closing: list[threading.Thread] = []
        self.state = State()
        self.problems: dict[str, str] = {}
        """Version to why it could not be loaded."""
        self._retry_at: dict[str, float] = {}
        self._tried: dict[str, ServedModel] = {}

    def update(self, champions: Iterable[ModelRow], others: Iterable[ModelRow] = ()) -> bool:
        """Load what is missing, then exchange the models at once; whether anything changed.

        A model that cannot be loaded is named in ``problems``, and its task keeps the champion it has. It is tried
        again a minute later.

        Parameters
        ----------
        champions
            One a task: who answers.
        others
            Who else must be there, such as the arms of an experiment.
        """
        with self._lock:
            rows = list(champions)
            before = self.state
            wanted = {row.version: row for row in (*rows, *others)}
            self.problems = {version: why for version, why in self.problems.items() if version in wanted}
            models = {version: found for row in wanted.values() for version, found in self._get(row, before)}
            chosen = {row.task: models[row.version] for row in rows if row.version in models}
            for row in rows:
                if row.task not in chosen and row.task in before.champions:
                    kept = chosen[row.task] = before.champions[row.task]
                    models[kept.version] = kept
            after = State(chosen, models)
            if after == before:
                return False
            self.state = after
            for version in set(before.models) - set(models):
                self._retire(before.models[version])
            return True

    def check(self, row: ModelRow) -> None:
        """Load a model as a trial, unless it is here; the next update that wants it takes it as it is.

        Raises
        ------
        ArtifactError
            It cannot be loaded; or another error of demur, as loading says.
        """
        if row.version not in self.state.models:
            model = self._load(row)
            with self._lock:
                self._tried.setdefault(row.version, model)

    def close(self) -> bool:
        """Finish what waits in every model; whether all ended in time."""
        with self._lock:
            done = [model.close(self._grace_s) for model in (*self.state.models.values(), *self._tried.values())]
            for thread in self._closing:
                thread.join(self._grace_s)
            return all(done)

    def _get(self, row: ModelRow, before: State) -> Iterable[tuple[str, ServedModel]]:
        """The model of a row, loaded unless it is here; none where that fails."""
        known = before.models.get(row.version)
        if known is not None:
            yield row.version, known
        elif self._retry_at.get(row.version, 0.0) <= time.monotonic():
            try:
                loaded = self._tried.pop(row.version, None) or self._load(row)
            except DemurError as error:
                self.problems[row.version] = str(error)
                self._retry_at[row.version] = time.monotonic() + _RETRY_S
                _LOG.error("model %s of task %s cannot be loaded: %s", row.version[:12], row.task, error)
            else:
                self.problems.pop(row.version, None)
                yield row.version, loaded

    def _retire(self, model: ServedModel) -> None:
        """Let a model finish what it has, in a thread of its own."""

        def finish() -> None:
            if not model.close(self._grace_s):
                _LOG.error("model %s did not finish in %.0f s", model.version[:12], self._grace_s)

        self._closing = [thread for thread in self._closing if thread.is_alive()]
        self._closing.append(threading.Thread(target=finish, name=f"retire-{model.version[:8]}", daemon=True))
        self._closing[-1].start()
