"""``demur stress``: attack language models in many ways, and measure what is left of their refusals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.console import Console

    from demur.stress import StressResult

_DEFAULT = "run"


class _WithDefault(TyperGroup):
    """A group whose first argument may be the configuration, as in ``demur stress stress.yaml``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [_DEFAULT, *args]
        found: list[str] = super().parse_args(ctx, args)
        return found


app = typer.Typer(
    cls=_WithDefault,
    no_args_is_help=True,
    help="Attack language models and measure what is left of their refusals: demur stress CONFIG.",
)


@app.command(_DEFAULT)
def stress(
    config: Annotated[Path, typer.Argument(help="A YAML or JSON file: models, attacks, seeds, data.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder (default: runs/NAME).")] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Run every attack with each of these seeds.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many prompts of a kind.")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Draw no figures, write no page.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Run a grid of models, attacks and seeds.

    Killed or interrupted, the same command goes on where it was; a changed configuration computes what changed.
    Ends with 1 if a cell failed.
    """
    import json

    from rich.console import Console

    from demur.cli._options import parse_seeds
    from demur.stress import load_stress, run_stress

    given = {"seeds": parse_seeds(seeds), "limit": limit}
    overrides = {key: value for key, value in given.items() if value is not None}
    settings = load_stress(config, overrides)
    with GridBar(Console(stderr=True)) as progress:
        result = run_stress(settings, out, progress)
    page = None if no_report else _write_page(result.folder)
    if as_json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        _print_result(result, Console())
        if page is not None:
            Console().print(f"  {page}", style="dim", highlight=False, soft_wrap=True)
    if any(one["status"] == "failed" for one in result.cells):
        raise typer.Exit(1)


def _write_page(folder: Path) -> Path | None:
    """The page, or None where what it is drawn with is not installed: the figures are there all the same."""
    import sys

    from demur.errors import MissingDependencyError
    from demur.report.stress import write_stress_report

    try:
        return write_stress_report(folder)
    except MissingDependencyError as error:
        print(f"demur: no page: {error}", file=sys.stderr)
        return None


@app.command("figures")
def figures(
    folder: Annotated[Path, typer.Argument(help="A run folder, as demur stress leaves it.")],
) -> None:
    """Draw all pictures and the page again, from the CSV files alone."""
    from demur.report.stress import write_stress_report

    print(write_stress_report(folder))


class GridBar:
    """A bar over cells on a terminal, one line a cell everywhere."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: Any = None
        self._done, self._words = 0, ""

    def __enter__(self) -> GridBar:
        self._bar.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.stop()

    def start(self, total: int, done: int) -> None:
        """So many cells there are, and so many were done before."""
        self._done = done
        self._task = self._bar.add_task("stress", total=total, completed=done)
        if done:
            self._say(f"{done} of {total} cells were done before")

    def cell(self, words: str) -> None:
        """A cell begins."""
        self._words = words
        self._show(words)

    def detail(self, words: str, share: float) -> None:
        """Where the cell stands."""
        self._show(f"{self._words} · {words} {share:.0%}")

    def end(self, words: str, result: dict[str, Any]) -> None:
        """A cell has ended."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        self._say(f"{words}: {_describe(result)}")

    def _show(self, words: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=words)

    def _say(self, words: str) -> None:
        self._console.print(words, highlight=False, markup=False, soft_wrap=True)


def _describe(result: dict[str, Any]) -> str:
    """How a cell ended, in a few words."""
    if result["status"] in ("skipped", "failed"):
        return f"{result['status']} ({result['reason']})"
    rates = [_find(stage, "rrr") for stage in (result["stages"][0], result["stages"][-1])]
    shown = " to ".join("-" if one is None else f"{one:.2f}" for one in rates[: len(result["stages"])])
    end = f", saturated at step {result['censored']['step']}" if result["censored"] else ""
    return f"refused {shown}{end}"


def _find(stage: dict[str, Any], metric: str) -> float | None:
    found: list[float | None] = [one["value"] for one in stage["metrics"] if one["metric"] == metric]
    return found[0] if found else None


def _print_result(result: StressResult, console: Console) -> None:
    from rich.table import Table

    first = result.summary["judges"][0]
    table = Table("model", "attack", "stage", "refused", "complied", "seeds", box=None, header_style="bold")
    curves = {
        (repr(one["about"]), one["metric"]): one for one in result.summary["curves"] if one["judge"] == first
    }
    for (about, metric), curve in curves.items():
        if metric != "rrr":
            continue
        for place in sorted({0, len(curve["points"]) - 1}):
            shown = [_interval(curves[(about, name)]["points"][place]) for name in ("rrr", "complied")]
            told = curve["about"]
            model = f"{told['model']}{' defended' if told['defended'] else ''}"
            stage = curve["points"][place]["label"] or f"step {curve['points'][place]['step']}"
            table.add_row(model, told["attack"], stage, *shown, str(curve["n_seeds"]))
    console.print(table)
    console.print(f"judged by {first}; other judges, figures and prompts:", highlight=False)
    console.print(f"  {result.folder / 'results' / 'metrics'}", style="dim", highlight=False, soft_wrap=True)


def _interval(point: dict[str, Any]) -> str:
    value, low, high = (point[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"
