"""A finished run folder, read lazily: results, settings and predictions.

What is missing is None, and damaged files are named in ``problems``; drawing, wording and arithmetic are
left to the other modules of the report.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from demur.analysis import Predicted, analyse_task, read_predicted, read_results, run_settings
from demur.errors import DemurError
from demur.report._views import ModelView, TaskView, finite


class RunView:
    """A run folder; nothing is read before it is asked for.

    Parameters
    ----------
    folder
        The run folder, as ``demur run`` leaves it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.problems: list[str] = []
        """What could not be read, in words; filled while reading."""
        self._predictions: dict[tuple[str, str, str], Predicted | None] = {}
        self._statistics: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def results(self) -> dict[str, Any]:
        """The contents of ``experiment_results.json``.

        Raises
        ------
        RunError
            There is none, or it is damaged; finish the run with ``demur run``.
        """
        return read_results(self.folder)

    @cached_property
    def run(self) -> dict[str, Any] | None:
        """The contents of ``run.json``; None where it is missing or damaged."""
        return self._read_mapping("run.json")

    @cached_property
    def cleaning(self) -> dict[str, list[Mapping[str, Any]]]:
        """The cleaning steps of each part of the data (``data``, ``blind``); empty where none is recorded."""
        found = {}
        for path in sorted((self.folder / "data").glob("report*.json")):
            report = self._read_mapping(f"data/{path.name}") or {}
            inner = report.get("cleaning", report)
            steps = inner.get("steps") if isinstance(inner, Mapping) else None
            if isinstance(steps, list):
                part = path.stem.removeprefix("report").strip("-") or "data"
                found[part] = [step for step in steps if isinstance(step, Mapping)]
        return dict(sorted(found.items(), key=lambda item: item[0] != "data"))

    @property
    def name(self) -> str:
        return str(self.results.get("name") or self.folder.name)

    @cached_property
    def tasks(self) -> list[TaskView]:
        """The tasks in the order of the run."""
        tasks = self.results.get("tasks")
        return [TaskView(str(name), raw) for name, raw in (tasks or {}).items() if isinstance(raw, Mapping)]

    def task(self, name: str) -> TaskView | None:
        """The task of that name, or None."""
        return next((task for task in self.tasks if task.name == name), None)

    def predictions(self, task: str, model: str, protocol: str | None) -> Predicted | None:
        """The probabilities a model gave; None where there is no such file or it cannot be read."""
        if not protocol:
            return None
        key = (task, model, protocol)
        if key not in self._predictions:
            self._predictions[key] = self._read_predictions(*key)
        return self._predictions[key]

    def main_predictions(self, task: TaskView) -> Iterator[tuple[ModelView, Predicted]]:
        """Each finished model with its probabilities under the task's main protocol, rules first."""
        for model in task.usable:
            found = self.predictions(task.name, model.name, task.main_protocol)
            if found is not None and len(found) and found.proba.shape[1] == len(task.labels):
                yield model, found

    def statistics(self, task: TaskView) -> Mapping[str, Any]:
        """The task's tests between models, as :func:`demur.analysis.analyse_task` gives them.

        Those of the run where it kept them, else the same from its predictions; empty where there are none.
        """
        stored = task.raw.get("statistics")
        if isinstance(stored, Mapping):
            return stored
        if task.name not in self._statistics:
            self._statistics[task.name] = self._analyse(task)
        return self._statistics[task.name]

    def _analyse(self, task: TaskView) -> Mapping[str, Any]:
        def load(model: str, protocol: str) -> Predicted | None:
            return self.predictions(task.name, model, protocol)

        try:
            return analyse_task(task.definition, None, task.raw, load, run_settings(self.folder))
        except DemurError as error:
            self.problems.append(f"the models of {task.name} could not be compared ({error})")
            return {}

    def curve(self, task: str, model: str) -> dict[str, Any] | None:
        """A model's learning curve; None where none was kept."""
        return self._read_mapping(f"curves/{task}/{model}.json")

    def trajectory(self, task: str, model: str) -> dict[str, Any] | None:
        """How adaptive class weights moved while a model learnt; None where they were not on."""
        return self._read_mapping(f"curves/{task}/alpha_trajectory_{model}.json")

    @property
    def draws(self) -> int:
        """Bootstrap draws of the run's intervals; 1000 where the run does not say."""
        found = finite(self.config.get("draws"))
        return 1000 if found is None else int(found)

    @property
    def level(self) -> float:
        """Level of the run's intervals; 0.95 where the run does not say."""
        return finite(self.config.get("level")) or 0.95

    @property
    def seed(self) -> int:
        """Seed of the run; 0 where it does not say."""
        found = finite((self.run or {}).get("seed", self.config.get("seed")))
        return 0 if found is None else int(found)

    @property
    def level_words(self) -> str:
        """The level as people say it: ``95 %``."""
        return f"{100 * self.level:g} %"

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration the run was made with; empty where it is not known."""
        found = (self.run or {}).get("config")
        return found if isinstance(found, Mapping) else {}

    def _read_mapping(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self.problems.append(f"{name} could not be read ({error})")
            return None
        return found if isinstance(found, dict) else None

    def _read_predictions(self, task: str, model: str, protocol: str) -> Predicted | None:
        path = self.folder / "predictions" / task / model / f"{protocol}.parquet"
        if not path.is_file():
            return None
        try:
            return read_predicted(path)
        except (OSError, ValueError) as error:
            self.problems.append(f"predictions/{task}/{model}/{protocol}.parquet could not be read ({error})")
            return None
