"""``demur compare``: which differences between models are real, from run folders alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    other: Annotated[
        Path | None, typer.Argument(help="Another run on the same rows: compare models of the same name.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option("--task", "-t", help="Only this task; may repeat.")] = None,
    protocol: Annotated[
        list[str] | None, typer.Option("--protocol", "-p", help="Only test, cv, leave_one_...; may repeat.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="This figure (custom_score and f1_macro by default); may repeat."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Print every pair, not the winner's alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every test as JSON.")] = False,
) -> None:
    """Test the models of a run against each other, pair by pair, on the rows both judged.

    Nothing is trained or read but the run's results and predictions.
    """
    import json

    from rich.console import Console

    from demur.analysis import compare_run, compare_runs
    from demur.report import print_comparison

    asked = (task or (), protocol or (), metric or ())
    found = compare_run(run, *asked) if other is None else compare_runs(run, other, *asked)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print_comparison(found, Console(), is_whole=every or other is not None)
