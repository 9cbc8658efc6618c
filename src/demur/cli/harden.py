"""``demur harden``: train a circuit breaker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from demur.harden import HardenResult, Validation


def harden(
    config: Annotated[Path, typer.Argument(help="A YAML or JSON file: target, data, layers, steps.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder (default: runs/NAME).")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the optimiser.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    merged: Annotated[bool, typer.Option("--merged", help="Also save the merged model.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Train a circuit breaker into a language model, and save its adapter.

    Killed or interrupted, the same command goes on from the last checkpoint. For several GPUs start it as
    accelerate launch -m demur harden CONFIG.
    """
    import json
    import os

    from rich.console import Console

    from demur.harden import harden as train
    from demur.harden import load_harden

    given = {"steps": steps, "seed": seed, "merged": merged or None}
    overrides = {key: value for key, value in given.items() if value is not None}
    settings = load_harden(config, overrides)
    if os.environ.get("RANK", "0") != "0":
        # One process of several tells what all of them do.
        train(settings, out)
        return
    console = Console(stderr=True)
    with _make_bar(console) as bar:
        task = bar.add_task("harden", total=settings.steps)
        result = train(settings, out, lambda step, total: bar.update(task, completed=step, total=total))
    if as_json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        _print_result(result, Console())


def _make_bar(console: Console) -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _print_result(result: HardenResult, console: Console) -> None:
    from rich.table import Table

    columns = ("step", "breaker cosine", "1 - cosine", "norm ratio", "retain L2", "KL")
    table = Table(*columns, box=None, header_style="bold")
    for found in result.validations:
        # Of a cosine near 1 only the rest shows whether anything moves.
        turned = found.turned or {layer: 1 - value for layer, value in found.cosine.items()}
        table.add_row(
            str(found.step),
            " ".join(f"{value:.3f}" for value in found.cosine.values()),
            " ".join(f"{value:.3g}" for value in turned.values()),
            " ".join(f"{value:.3f}" for value in found.norm_ratio.values()),
            f"{found.mean_retain:.3f}",
            f"{found.kl.mean:.4f}" if found.kl else "",
        )
    console.print(table)
    layers = ", ".join(map(str, result.targets))
    console.print(
        f"{result.name}: {result.steps} steps{' (stopped early)' if result.is_early else ''}, layers {layers}, "
        f"{result.seconds:.0f} s",
        highlight=False,
    )
    if result.validations:
        _print_kinds(result.validations[-1], console)
    for note in result.notes:
        console.print(f"  note: {note}", style="yellow", highlight=False, soft_wrap=True)
    for folder in filter(None, (result.adapter, result.merged)):
        console.print(f"  {folder}", style="dim", highlight=False, soft_wrap=True)


def _print_kinds(found: Validation, console: Console) -> None:
    """What the last validation says of each kind of retained rows."""
    for kind, value in found.retain_kinds.items():
        kl = found.kl.kinds.get(kind) if found.kl else None
        shown = f", KL {kl:.4f}" if kl is not None else ""
        console.print(f"  held-out {kind}: retain L2 {value:.3f}{shown}", highlight=False)
