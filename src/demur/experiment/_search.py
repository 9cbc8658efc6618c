"""Searching the settings of a model on its training rows, by grid or by Optuna, and what came of it.

Nothing but the training rows of one fit is looked at: inside a fold of cross-validation the search is run again on
that fold's training rows (nested), so that no test row ever chooses.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from demur.config import Settings
from demur.data import Split
from demur.errors import TrainingError
from demur.experiment._config import ModelSpec
from demur.experiment._prepare import TaskData
from demur.experiment._search_config import SearchConfig
from demur.experiment._search_grid import run_grid
from demur.experiment._search_optuna import Journal, run_study
from demur.experiment._search_space import (
    Params,
    Space,
    apply_params,
    count_grid,
    current_params,
    is_grid,
    resolve_space,
)
from demur.experiment._search_trial import FitRows, Problem, Trial, make_folds
from demur.metrics import make_scorer
from demur.models import BaseClassifier
from demur.paths import hash_value, replace_when_done
from demur.tasks import Task

_COLUMNS = ("fit", "trial", "state", "score", "std", "folds", "fits", "epochs", "seconds", "reason")


class SearchJob(Protocol):
    """What a search needs to know of the fit it is for."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        ...

    @property
    def data(self) -> TaskData:
        """The task and its rows."""
        ...

    @property
    def split(self) -> Split:
        """The rows to fit on; the others are not looked at."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        ...

    @property
    def folder(self) -> Path:
        """For what a killed search goes on from."""
        ...

    @property
    def params(self) -> Params | None:
        """Settings that an earlier search chose: they are taken, and no search is run."""
        ...

    @property
    def trials(self) -> Path | None:
        """The table of trials to write."""
        ...

    @property
    def tell(self) -> Callable[[str, float], None]:
        """Told where the search stands: words, and the share that is done."""
        ...


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    search: SearchConfig
    method: Literal["grid", "optuna"]
    space: Space
    trials: tuple[Trial, ...]
    folds: int
    start: Params | None = None
    """The settings without a search, where they lie in the space."""

    @property
    def best(self) -> Trial:
        """The complete trial of the highest score, the first of equals.

        Raises
        ------
        TrainingError
            There is none.
        """
        complete = [trial for trial in self.trials if trial.state == "complete"]
        if not complete:
            reason = next((trial.reason for trial in self.trials if trial.reason), "no reason was given")
            raise TrainingError(
                f"all {len(self.trials)} trials of the search failed; the first: {reason}; "
                "change search.space or the settings that all trials share"
            )
        return max(complete, key=lambda trial: trial.score if trial.score is not None else float("-inf"))

    @property
    def params(self) -> Params:
        """The chosen settings, by dotted name."""
        return self.best.params

    def to_json(self) -> dict[str, Any]:
        """What the results say of it."""
        counts = {
            state: sum(trial.state == state for trial in self.trials) for state in ("complete", "pruned", "failed")
        }
        started = [
            trial.score for trial in self.trials if trial.params == self.start and trial.state == "complete"
        ]
        return {
            "method": self.method,
            "metric": self.search.metric,
            "nested": self.search.nested,
            "folds": self.folds,
            "trials": len(self.trials),
            **counts,
            "fits": sum(trial.fits for trial in self.trials),
            "epochs": sum(trial.epochs for trial in self.trials),
            "seconds": sum(trial.seconds for trial in self.trials),
            "score": self.best.score,
            "std": self.best.std,
            "start_score": started[0] if started else None,
            "params": self.params,
            "space": {
                name: found.model_dump(mode="json", exclude_defaults=True) for name, found in self.space.items()
            },
        }


def check_search(
    spec: ModelSpec, family: type[BaseClassifier[Any]], settings: Settings, tasks: Sequence[Task] = ()
) -> None:
    """Refuse a search that cannot be run, before anything is.

    Raises
    ------
    ConfigError
        Its space names no setting of the family, or values that it refuses.
    UsageError
        A task has no such metric.
    """
    if spec.search is None:
        return
    resolve_space(spec.search, family, settings)
    for task in tasks:
        if not spec.tasks or task.name in spec.tasks:
            make_scorer(task, spec.search.metric)


def search_settings(
    job: SearchJob, family: type[BaseClassifier[Any]], settings: Settings, fit: FitRows
) -> tuple[Any, SearchResult | None]:
    """The settings to fit with, and what was searched; the settings as they are where there is no search.

    Raises
    ------
    ConfigError
        The space cannot be searched.
    TrainingError
        Every trial failed.
    """
    search = job.spec.search
    if search is None:
        return settings, None
    if job.params is not None:
        return apply_params(settings, job.params), None
    space = resolve_space(search, family, settings)
    result = run_search(job, search, space, _pose(job, family, settings, space, fit))
    if job.trials is not None:
        write_trials(job.trials, name_fit(job.split), result)
    return apply_params(settings, result.params), result


def run_search(job: SearchJob, search: SearchConfig, space: Space, problem: Problem) -> SearchResult:
    """Run the trials.

    Raises
    ------
    TrainingError
        Every trial failed.
    """
    method = pick_method(search, space, problem.most_epochs > 0)
    if method == "grid":
        jobs = 1 if problem.most_epochs else search.jobs
        trials = run_grid(problem, space, jobs, lambda words: job.tell(words, 0.0))
    else:
        seed = job.seed if search.seed is None else search.seed
        journal = Journal(job.folder / "search.sqlite", _name_study(job, search, space, problem, seed))
        trials = run_study(problem, space, search, seed, journal, job.tell)
    start = current_params(problem.settings, space)
    result = SearchResult(search, method, space, tuple(trials), len(problem.folds), start)
    _ = result.best
    return result


def pick_method(search: SearchConfig, space: Space, in_steps: bool) -> Literal["grid", "optuna"]:
    """What ``auto`` stands for: a grid where it is no more than the trials and no fit could be cut short."""
    if search.method != "auto":
        return search.method
    is_small = is_grid(space) and count_grid(space) <= search.trials
    return "grid" if is_small and not in_steps else "optuna"


def name_fit(split: Split) -> str:
    """The fit a search is for, as the table of trials has it: ``main``, ``cv 1``, ``leave_one_model_out ada``."""
    return "main" if split.name == "test" else f"{split.name} {split.fold or ''}".strip()


def write_trials(path: Path, fit: str, result: SearchResult) -> None:
    """Write the trials of one fit into a table, in place of those that an earlier run wrote of it.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    names = sorted(result.space)
    kept: list[dict[str, Any]] = []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as handle:
            kept = [row for row in csv.DictReader(handle) if row.get("fit") != fit]
    rows = [_row(fit, number, trial) for number, trial in enumerate(result.trials)]
    with replace_when_done(path) as part, part.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, [*_COLUMNS, *names], extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows([*kept, *rows])


def _row(fit: str, number: int, trial: Trial) -> dict[str, Any]:
    return {
        "fit": fit,
        "trial": number,
        "state": trial.state,
        "score": trial.score,
        "std": trial.std,
        "folds": len(trial.scores),
        "fits": trial.fits,
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 3),
        "reason": trial.reason,
        **trial.params,
    }


def _pose(
    job: SearchJob, family: type[BaseClassifier[Any]], settings: Settings, space: Space, fit: FitRows
) -> Problem:
    search = job.spec.search
    assert search is not None
    data = job.data
    seed = job.seed if search.seed is None else search.seed
    return Problem(
        task=data.task,
        records=data.records,
        folds=make_folds(data.records, data.task, job.split.train, search.folds, seed),
        settings=settings,
        fit=fit,
        scorer=make_scorer(data.task, search.metric),
        most_epochs=_most_epochs(family, settings, space),
        has_own_score=not family.wants_companions,
    )


def _most_epochs(family: type[BaseClassifier[Any]], settings: Settings, space: Space) -> int:
    """Passes of the longest fit of a family that trains in steps; 0 for others."""
    if not family.wants_valid:
        return 0
    train = getattr(settings, "train", settings)
    most = [float(getattr(train, "epochs", 1))]
    for name, dimension in space.items():
        if name.split(".")[-1] == "epochs":
            most += [float(choice) for choice in dimension.choices] or [float(dimension.high or 1)]
    return int(max(most))


def _name_study(job: SearchJob, search: SearchConfig, space: Space, problem: Problem, seed: int) -> str:
    """A name that another space, other rows or other settings do not share."""
    parts = {
        "space": {name: found.model_dump(mode="json") for name, found in space.items()},
        "search": search.model_dump(mode="json", exclude={"trials", "timeout_s", "jobs", "nested"}),
        "startup": search.trials,
        "settings": problem.settings.model_dump(mode="json"),
        "folds": [[train.tolist(), test.tolist()] for train, test in problem.folds],
        "ids": problem.records.take(job.split.train).texts("id"),
        "task": problem.task.model_dump(mode="json"),
        "seed": [seed, job.seed],
    }
    return hash_value(parts)[:24]
