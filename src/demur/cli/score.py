"""``demur score``: judge the rows of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer


def score(
    file: Annotated[Path, typer.Argument(help="JSONL, CSV or Parquet (JSONL and CSV also .gz).")],
    model: Annotated[Path, typer.Option("--model", "-m", help="A saved model, or a run folder: its winners.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Result (default: FILE with .scored).")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", "-c", help="Map a column: prompt=question; may repeat.")
    ] = None,
    batch_rows: Annotated[int, typer.Option(min=1, help="Rows judged at a time.")] = 2048,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with an interrupted result.")] = False,
    runtime: Annotated[
        str, typer.Option(help="auto, native, onnx, onnx-fp32; auto: ONNX where the model was exported.")
    ] = "auto",
    threshold: Annotated[
        str | None, typer.Option(help="Add TASK_flagged: threat score above an operating point, such as fpr_1.")
    ] = None,
    unsure: Annotated[bool, typer.Option("--unsure", help="Add TASK_unsure: one label is not enough.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Judge every row of a file, of any size, and write it back with labels and probabilities.

    Interrupted, the same command goes on with the rows that were not done.
    """
    import json

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from demur.cli._options import parse_columns
    from demur.errors import ConfigError
    from demur.models import ScoreOptions, score_file

    if runtime not in ("auto", "native", "onnx", "onnx-fp32"):
        raise ConfigError(f"--runtime takes auto, native, onnx or onnx-fp32, not '{runtime}'")
    options = ScoreOptions(
        parse_columns(column), batch_rows, fresh, cast("Literal['auto', 'native']", runtime), threshold, unsure
    )
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.completed} rows"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("score", total=None, rate="")

        def tell(rows: int, rate: float) -> None:
            bar.update(task, completed=rows, rate=f"{rate:,.0f} rows/s")

        summary = score_file(file, model, out, options, tell)
    if as_json:
        print(json.dumps(summary.to_json()))
        return
    print(f"{summary.rows} rows judged, {summary.rejected} set aside, in {summary.seconds:.1f} s -> {summary.out}")
    if summary.resumed_rows:
        print(f"{summary.resumed_rows} of them were done before")
    if summary.rejected:
        print(f"rows set aside, with reasons: {summary.quarantine}")
    for name, counts in summary.labels.items():
        print(f"{name}: " + ", ".join(f"{label} {count}" for label, count in counts.items()))
