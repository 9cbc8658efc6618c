"""The grid: all cells, those that others are compared with first, in this process or as tasks of Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from demur import __version__
from demur.errors import DemurError, require, translate_os_error
from demur.locks import lock_folder
from demur.paths import write_json
from demur.stress._bench import Bench
from demur.stress._capability import check_capability
from demur.stress._cell import CellRun
from demur.stress._config import EngineConfig, StressConfig
from demur.stress._data import StressRows, load_stress_rows
from demur.stress._jobs import UNTOUCHED, Job, plan_jobs
from demur.stress._keys import cell_keys
from demur.stress._place import CellPlace
from demur.stress._tables import write_tables


class GridProgress(Protocol):
    """Who is told how a grid goes."""

    def start(self, total: int, done: int) -> None:
        """So many cells there are, and so many were done before."""

    def cell(self, words: str) -> None:
        """A cell begins."""

    def detail(self, words: str, share: float) -> None:
        """Where the cell stands."""

    def end(self, words: str, result: dict[str, Any]) -> None:
        """A cell has ended."""


@dataclass(frozen=True)
class StressResult:
    """What a grid gave."""

    folder: Path
    cells: tuple[dict[str, Any], ...]
    """Every cell's result, in the order of the grid."""
    summary: dict[str, Any]
    """Curves over seeds, differences, budgets of half."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object, without the outcomes of single prompts."""
        short = ("status", "reason", "censored", "cell", "key", "replies")
        return {
            "folder": self.folder.name,
            "seconds": round(self.seconds, 3),
            "cells": [{name: one[name] for name in short} for one in self.cells],
            "summary": self.summary,
        }


def run_stress(
    config: StressConfig, out: Path | None = None, progress: GridProgress | None = None
) -> StressResult:
    """Attack every model in every way for every seed, and measure what is left of its refusals.

    Cells that are done are read; a cell that was killed goes on at its stage.

    Parameters
    ----------
    config
        The grid.
    out
        Run folder; that of the configuration, or ``runs/NAME``, where None.
    progress
        Told how it goes.

    Raises
    ------
    ConfigError
        A model has no chat template, an adapter belongs to another base, an attack's setting is off.
    DataError
        There is no harmful prompt, or an attack lacks data.
    LeakError
        A prompt is both trained on and judged by.
    RunError
        A judge failed on every response, or another run writes to the folder.
    NoMemoryError, StorageError
        Memory or disk ran out; the same call goes on where it stopped.
    MissingDependencyError
        A library is not installed.
    """
    require("torch", extra="torch")
    require("peft", extra="llm")
    check_capability(config.capability)
    started = time.perf_counter()
    folder = out if out is not None else Path(config.out or f"runs/{config.name}")
    rows = load_stress_rows(config)
    jobs = plan_jobs(config, rows.material)
    bench = Bench(config)
    places = {job_id(job): _place(job, config, rows, bench, folder) for job in jobs}
    left = [job for job in jobs if not places[job_id(job)].is_done]
    _check_models(left, bench)
    try:
        with lock_folder(folder):
            write_json(folder / "stress.json", _describe(config, rows, "running"))
            if progress is not None:
                progress.start(len(jobs), len(jobs) - len(left))
            runner = _run_on_ray if config.engine.kind == "ray" else _run_here
            # Two waves: cells are compared with the untouched base of their model and seed.
            runner([job for job in left if job.is_base], places, rows, bench, progress)
            runner([job for job in left if not job.is_base], places, rows, bench, progress)
            cells = tuple(_read(places[job_id(job)], job) for job in jobs)
            summary = write_tables(folder / "results" / "metrics", cells, rows, config)
            done = _describe(config, rows, "done") | {"seconds": round(time.perf_counter() - started, 3)}
            write_json(folder / "stress.json", done)
    except DemurError:
        raise
    except OSError as error:
        raise translate_os_error(error, "stressing") from error
    return StressResult(folder, cells, summary, time.perf_counter() - started)


def job_id(job: Job) -> str:
    """A key of a job within its grid."""
    return repr((job.model.title, job.is_defended, job.attack, sorted(job.settings.items()), job.seed))


def _place(job: Job, config: StressConfig, rows: StressRows, bench: Bench, folder: Path) -> CellPlace:
    return CellPlace(folder, cell_keys(job, config, rows, bench.judges_hash))


def _check_models(jobs: Sequence[Job], bench: Bench) -> None:
    """Load every model that is needed once, so that none of them fails after hours."""
    for model, is_defended in reversed(dict.fromkeys((job.model, job.is_defended) for job in jobs)):
        bench.target(model, is_defended)


def _base_of(job: Job, places: dict[str, CellPlace]) -> CellPlace:
    settings = Job(job.model, False, UNTOUCHED, {}, job.seed).make_attack().config.model_dump(mode="json")
    return places[job_id(Job(job.model, False, UNTOUCHED, settings, job.seed))]


def _run_here(
    jobs: Sequence[Job],
    places: dict[str, CellPlace],
    rows: StressRows,
    bench: Bench,
    progress: GridProgress | None,
) -> None:
    for job in jobs:
        if progress is not None:
            progress.cell(job.title)
        tell = None if progress is None else progress.detail
        result = CellRun(job, (places[job_id(job)], _base_of(job, places)), rows, bench, tell).go()
        if progress is not None:
            progress.end(job.title, result)


def _run_on_ray(
    jobs: Sequence[Job],
    places: dict[str, CellPlace],
    rows: StressRows,
    bench: Bench,
    progress: GridProgress | None,
) -> None:
    """Each cell a task; the run folder must be one that all machines see."""
    if not jobs:
        return
    with _ray(bench.config.engine) as ray:
        for job, result in _run_tasks(ray, jobs, places, bench, rows):
            if progress is not None:
                progress.cell(job.title)
                progress.end(job.title, result)


@contextmanager
def _ray(engine: EngineConfig) -> Iterator[Any]:
    """Ray, begun quietly and ended where it was not running."""
    ray = require("ray", extra="ray")
    is_ours = not ray.is_initialized()
    if is_ours:
        new = {} if engine.address else {"include_dashboard": False}
        ray.init(address=engine.address, log_to_driver=False, logging_level="ERROR", **new)
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


def _run_tasks(
    ray: Any, jobs: Sequence[Job], places: dict[str, CellPlace], bench: Bench, rows: StressRows
) -> Iterator[tuple[Job, dict[str, Any]]]:
    engine = bench.config.engine
    task = ray.remote(run_cell).options(num_cpus=engine.cpus, num_gpus=engine.gpus)
    running: dict[Any, Job] = {}

    def start(job: Job) -> None:
        pair = (places[job_id(job)], _base_of(job, places))
        running[task.remote(job, pair, rows, bench.config)] = job

    # Cells that share an attack's work, such as those that differ in their steps, go one after the other.
    waiting: dict[str, list[Job]] = {}
    for job in jobs:
        waiting.setdefault(places[job_id(job)].keys.work, []).append(job)
    for line in waiting.values():
        start(line.pop(0))
    while running:
        ready, _ = ray.wait(list(running), num_returns=1)
        for one in ready:
            job = running.pop(one)
            yield job, _get(ray, one)
            if line := waiting[places[job_id(job)].keys.work]:
                start(line.pop(0))


def _get(ray: Any, one: Any) -> dict[str, Any]:
    """A task's result; what it raised of ours is raised as if here."""
    try:
        result: dict[str, Any] = ray.get(one)
    except DemurError as error:  # Ray's own error and the cause's class in one, with a traceback for a message
        raise getattr(error, "cause", error) from None
    return result


_benches: dict[str, Bench] = {}


def run_cell(
    job: Job, places: tuple[CellPlace, CellPlace], rows: StressRows, config: StressConfig
) -> dict[str, Any]:
    """One cell in a process of its own; models stay loaded there for the next.

    Parameters
    ----------
    job
        What is done.
    places
        Of the cell, and of its untampered base, which must be done.
    rows
        Prompts and data.
    config
        The grid.
    """
    key = config.model_dump_json()
    if key not in _benches:
        _benches.clear()
        _benches[key] = Bench(config)
    return CellRun(job, places, rows, _benches[key]).go()


def _read(place: CellPlace, job: Job) -> dict[str, Any]:
    found = place.read()
    assert found is not None, job.title
    return found


def _describe(config: StressConfig, rows: StressRows, status: str) -> dict[str, Any]:
    from demur.engine import describe_machine

    return {
        "status": status,
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "data": {
            "prompts": rows.prompts_hash,
            "material": rows.material_hash,
            "texts": rows.texts_hash,
            "harmful": sum(one.kind == "harmful" for one in rows.prompts),
            "safe": sum(one.kind == "safe" for one in rows.prompts),
            "repeated": rows.repeated,
        },
        "machine": describe_machine(),
    }
