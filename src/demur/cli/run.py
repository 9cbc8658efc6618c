"""``demur run``: train, compare, choose, save and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from demur.experiment import ExperimentConfig, ModelSpec


def run(
    config: Annotated[
        Path | None, typer.Argument(help="A YAML or JSON file; without one: the starter corpus.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder (default: runs/NAME).")] = None,
    task: Annotated[list[str] | None, typer.Option("--task", "-t", help="Only this task; may repeat.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Only this model; may repeat.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Fit each seeded model with each of these seeds.")
    ] = None,
    cv: Annotated[
        str | None,
        typer.Option(
            metavar="[N]", help="Folds of grouped cross-validation; without a number 4, for neural nets 3."
        ),
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Draw no figures, write no page.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON and nothing else.")] = False,
) -> None:
    """Train every model for every task, test it, choose the best, save and report.

    Killed or interrupted, the same command goes on with the models that were not done. Ends with 1 if a
    task has no winner.
    """
    import json

    from rich.console import Console

    from demur.cli._options import parse_folds, parse_seeds
    from demur.experiment import load_experiment, run_experiment
    from demur.report import print_league

    given = {"seed": seed, "seeds": parse_seeds(seeds), "report": False if no_report else None}
    overrides: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if cv is not None:
        overrides["validation"] = {"cv": parse_folds(cv)}
    experiment = _narrow(load_experiment(config, overrides), task, model)
    console = Console(stderr=True)
    with _Reporter(console) as progress:
        result = run_experiment(experiment, out=out, progress=progress)
    if as_json:
        print(json.dumps(result.results, ensure_ascii=False))
    else:
        print_league(result.results, Console())
        _say_where(result.folder, Console())
    if None in result.winners.values():
        raise typer.Exit(1)


def _narrow(experiment: ExperimentConfig, tasks: list[str] | None, models: list[str] | None) -> ExperimentConfig:
    """Only the tasks and models asked for; a task that is not in the configuration may be a built-in or a file."""
    from demur.tasks import load_task

    changed: dict[str, Any] = {}
    if tasks:
        configured = {load_task(task).name: task for task in experiment.tasks}
        changed["tasks"] = tuple(configured.get(task, task) for task in dict.fromkeys(tasks))
    if models:
        known = {spec.name: spec for spec in experiment.models}
        changed["models"] = tuple(_find_model(name, known) for name in dict.fromkeys(models))
    return experiment.model_copy(update=changed)


def _find_model(name: str, known: dict[str, ModelSpec]) -> ModelSpec:
    from demur.errors import ConfigError, near_match

    if name not in known:
        listed = ", ".join(known)
        raise ConfigError(f"the configuration has no model '{name}' (it has: {listed}){near_match(name, known)}")
    return known[name]


def _say_where(folder: Path, console: Console) -> None:
    pages = [folder / name for name in ("report.html", "results.csv", "models") if (folder / name).exists()]
    for page in pages:
        console.print(f"  {page}", style="dim", highlight=False, soft_wrap=True)


class _Reporter:
    """Progress bar with time left on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: Any = None
        self._last, self._words, self._steps = "", "", 0

    def __enter__(self) -> _Reporter:
        self._bar.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._task is not None and details[0] is None:
            self._bar.update(self._task, description="done", completed=self._bar.tasks[0].total)
        self._bar.stop()

    def start(self, total: int) -> None:
        """``total`` steps are ahead."""
        self._task = self._bar.add_task("starting", total=total)

    def step(self, words: str) -> None:
        """One more step begins."""
        self._steps, self._words = self._steps + 1, words
        if self._task is not None:
            self._bar.update(self._task, completed=self._steps - 1, description=words)
        cell = " · ".join(words.split(" · ")[:2])
        if not self._console.is_terminal and cell != self._last:
            self._console.print(cell, highlight=False, markup=False)
            self._last = cell

    def detail(self, words: str, share: float) -> None:
        """Where the step stands."""
        if self._task is not None:
            self._bar.update(self._task, completed=self._steps - 1 + min(max(share, 0), 0.99))
            self._bar.update(self._task, description=f"{self._words} · {words}")

    def say(self, words: str) -> None:
        """Something worth a line."""
        self._console.print(words, highlight=False, markup=False)
