"""Running an experiment: every model on every task, the choice, and the run folder it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from demur.errors import ConfigError, MissingDependencyError, RunError
from demur.experiment._cell import run_cell
from demur.experiment._config import ExperimentConfig, ModelSpec
from demur.experiment._fit import Tell, resolve_spec, tell_nobody
from demur.experiment._folder import RunFolder
from demur.experiment._load import load_experiment
from demur.experiment._plan import Cell
from demur.experiment._prepare import LEFT_OUT, TaskData, prepare_tasks
from demur.experiment._record import RunRecord
from demur.experiment._select import check_select, searched_once, select_winner
from demur.experiment._track import track_run
from demur.locks import lock_folder
from demur.models import library_versions
from demur.paths import write_text
from demur.tasks import Task, load_task


class Progress(Protocol):
    """What is told of a running experiment."""

    def start(self, total: int) -> None:
        """``total`` steps are ahead."""

    def step(self, words: str) -> None:
        """One more step begins."""

    def detail(self, words: str, share: float) -> None:
        """Where the step stands: words, and the share of it that is done."""

    def say(self, words: str) -> None:
        """Something worth a line."""


class Silent:
    """Tells nobody."""

    def start(self, total: int) -> None:
        """Ignore."""

    def step(self, words: str) -> None:
        """Ignore."""

    def detail(self, words: str, share: float) -> None:
        """Ignore."""

    def say(self, words: str) -> None:
        """Ignore."""


@dataclass(frozen=True)
class ExperimentResult:
    """A finished experiment: its folder and everything in ``experiment_results.json``."""

    folder: Path
    results: dict[str, Any]

    @property
    def winners(self) -> dict[str, str | None]:
        """The chosen model of each task."""
        return {name: found["winner"] for name, found in self.results["tasks"].items()}


def run_experiment(
    config: ExperimentConfig | str | Path | None = None,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ExperimentResult:
    """Train, test, choose, save and report; goes on where an earlier run of the folder stopped.

    Parameters
    ----------
    config
        A configuration, its file, or None for the embedded defaults.
    out
        The run folder; default the configuration's ``out``, else ``runs/<name>``.

    Raises
    ------
    ConfigError, DataError
        The configuration or the data cannot be used.
    LeakError
        A split shares what it must not.
    StorageError
        The disk is full or not writable.
    """
    progress = progress or Silent()
    if not isinstance(config, ExperimentConfig):
        config = load_experiment(config)
    folder = RunFolder(Path(out or config.out or Path("runs") / config.name))
    tasks = _load_tasks(config)
    check_select(config.select, tasks)
    for spec in config.models:
        _check_spec(spec, tasks)
        if spec.tasks and not {task.name for task in tasks} & set(spec.tasks):
            progress.say(f"{spec.name} is left out: it is for {', '.join(spec.tasks)} only, no task of this run")
    _check_folder(folder)
    with lock_folder(folder.root):
        return _run(config, folder, tasks, progress)


def _run(config: ExperimentConfig, folder: RunFolder, tasks: list[Task], progress: Progress) -> ExperimentResult:
    started = time.perf_counter()
    versions = library_versions()
    progress.say("reading, cleaning and splitting the data")
    prepared = prepare_tasks(config, tasks, folder)
    for warning in prepared[0].warnings:
        if warning.startswith(LEFT_OUT):
            progress.say(warning)
    record = RunRecord(config, folder, versions, {data.task.name: data.hashes["hash"] for data in prepared})
    record.begin()
    spans = {"prepare_s": time.perf_counter() - started}
    others = {data.task.name: data for data in prepared}
    cells = [
        Cell(spec, data, config, folder, versions, others, _detail(progress))
        for data in prepared
        for spec in config.models
        if not spec.tasks or data.task.name in spec.tasks
    ]
    found, cell_spans = _run_cells(cells, progress)
    results = _conclude(config, prepared, found, versions)
    _analyse(config, prepared, results, folder, progress.say)
    results["seconds"] = time.perf_counter() - started
    record.end(results, spans | cell_spans)
    if config.report:
        progress.say("drawing figures and writing the report")
        _report(folder, progress.say)
    track_run(config, folder, results, progress.say)
    return ExperimentResult(folder.root, results)


def _detail(progress: Progress) -> Tell:
    """The listener's ``detail``, which a caller's own listener need not have."""
    return getattr(progress, "detail", tell_nobody)


def _load_tasks(config: ExperimentConfig) -> list[Task]:
    tasks = [load_task(task) for task in config.tasks]
    names = [task.name for task in tasks]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"tasks repeat: {', '.join(repeated)}; give each once, under its own name", key="tasks")
    return tasks


def _check_spec(spec: ModelSpec, tasks: list[Task]) -> None:
    """Unknown models and settings are refused at once; a missing library is that model's own failure."""
    try:
        family, settings = resolve_spec(spec)
        if spec.search is not None:
            from demur.experiment._search import check_search

            check_search(spec, family, settings, tasks)
    except MissingDependencyError:
        return


def _check_folder(folder: RunFolder) -> None:
    root = folder.root
    if root.is_file():
        raise RunError(f"{root} is a file; choose another folder with --out")
    if root.is_dir() and any(root.iterdir()) and not folder.is_ours():
        raise RunError(f"{root} holds something that is not a demur run; choose another folder with --out")
    write_text(folder.marker, "The folder of a demur run: what lies in it may be replaced by the next one.\n")


def _run_cells(cells: list[Cell], progress: Progress) -> tuple[dict[str, list[dict[str, Any]]], dict[str, float]]:
    """Each task's results in the order of the configuration, and how long each cell took."""
    progress.start(sum(cell.fits() for cell in cells))
    found: dict[str, list[dict[str, Any]]] = {}
    spans = {}
    for cell in cells:
        task, name = cell.data.task.name, cell.spec.name
        begun = time.perf_counter()
        result = run_cell(cell, progress.step)
        if result["status"] != "ok":
            progress.say(f"{task} · {name} {result['status']}: {result['reason']}")
        found.setdefault(task, []).append(result)
        spans[f"{task}/{name}_s"] = time.perf_counter() - begun
    return found, spans


def _conclude(
    config: ExperimentConfig,
    prepared: list[TaskData],
    found: dict[str, list[dict[str, Any]]],
    versions: dict[str, str],
) -> dict[str, Any]:
    tasks: dict[str, Any] = {}
    for data in prepared:
        models = found.get(data.task.name, [])
        winner, why = select_winner(data.task, models, config.select)
        tasks[data.task.name] = {
            "task": data.task.model_dump(mode="json"),
            "data": data.describe(),
            "winner": winner,
            "why": why,
            "warnings": [*data.warnings, *_unnested(models)],
            "protocols": data.folds,
            "models": models,
        }
    return {
        "name": config.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "tasks": tasks,
    }


def _analyse(
    config: ExperimentConfig,
    prepared: list[TaskData],
    results: dict[str, Any],
    folder: RunFolder,
    say: Callable[[str], None],
) -> None:
    """Add the statistics of each task to its results, and what they warn of to its warnings."""
    from demur.analysis import AnalysisConfig, analyse_task, predictions_of

    settings = AnalysisConfig(draws=config.draws, level=config.level, seed=config.seed)
    say("comparing the models")
    for data in prepared:
        name = data.task.name
        found = results["tasks"][name]
        statistics = analyse_task(data.task, data.records, found, predictions_of(folder.root, name), settings)
        found["statistics"] = statistics
        found["warnings"] += statistics["warnings"]


def _unnested(models: list[dict[str, Any]]) -> list[str]:
    """A warning for models whose folds were fitted with settings that rows of those folds had chosen."""
    names = searched_once(models)
    if not names:
        return []
    return [
        f"{', '.join(names)}: settings were searched once, on the main training rows; the figures of "
        "cross-validation and of held-out models and sources reuse them and are not nested"
    ]


def _report(folder: RunFolder, say: Callable[[str], None]) -> None:
    from demur.report import draw_figures, write_report

    try:
        draw_figures(folder.root)
        write_report(folder.root)
    except MissingDependencyError as error:
        say(f"no report: {error}")
