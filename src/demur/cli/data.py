"""``demur data``: look at, check, convert and split records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from demur.data import Records

app = typer.Typer(no_args_is_help=True, help="Check, import, split and describe labelled data.")

FilePath = Annotated[str, typer.Argument(help="A file, or `starter`.")]
Layout = Annotated[str, typer.Option("--format", "-f", help="Layout of the file; see demur data formats.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", "-c", help="Map a column: refusal=label; may repeat.")
]
Tasks = Annotated[list[str] | None, typer.Option("--task", "-t", help="A task (name or file); may repeat.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("validate")
def validate(
    path: FilePath,
    layout: Layout = "records",
    column: Columns = None,
    task: Tasks = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the cleaned rows here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read, check and clean a file; say what was changed and what was set aside, and why.

    Ends with 1 if any row was set aside.
    """
    import json
    import tempfile

    from demur.data import CleanConfig, Quarantine, clean_records, write_records

    tasks = _load_tasks(task)
    folder = Path(f"{out or Path(path).name}.quarantine") if path.split(":")[0] != "starter" else None
    place = folder or Path(tempfile.mkdtemp())
    _forget_quarantine(place)
    records = _load(path, layout, column, tasks, place, keep_places=True)
    with Quarantine(place / "quarantine-cleaning.jsonl") as quarantine:
        cleaned, report = clean_records(records, CleanConfig(), tasks, quarantine)
    rows = [json.loads(line) for file in sorted(place.glob("*.jsonl")) for line in file.read_text().splitlines()]
    if out is not None:
        write_records(cleaned, out)
    if as_json:
        print(json.dumps({"cleaning": report.to_json(), "rows": len(cleaned), "set_aside": rows}))
    else:
        _print_frame(report.frame())
        print(f"{len(cleaned)} rows are fine, {len(rows)} were set aside" + (f", in {place}" if rows else ""))
        for row in rows[:10]:
            print(f"  row {row['row']}: {row['reason']}")
        if len(rows) > 10:
            print(f"  and {len(rows) - 10} more")
    if rows:
        raise typer.Exit(1)


@app.command("import")
def import_data(
    path: FilePath,
    out: Annotated[Path, typer.Option("--out", "-o", help="JSONL, CSV or Parquet, plain or .gz.")],
    layout: Layout = "records",
    column: Columns = None,
    task: Tasks = None,
) -> None:
    """Convert a file of a public layout into records."""
    from demur.data import write_records

    folder = out.with_name(f"{out.name}.quarantine")
    _forget_quarantine(folder)
    records = _load(path, layout, column, _load_tasks(task), folder)
    write_records(records, out)
    aside = sum(len(file.read_text().splitlines()) for file in folder.glob("*.jsonl"))
    print(f"{len(records)} records -> {out}" + (f", {aside} rows set aside in {folder}" if aside else ""))


@app.command("split")
def split(
    path: FilePath,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for train, valid and test files.")],
    task: Annotated[str, typer.Option("--task", "-t", help="The task whose classes are kept in balance.")],
    test: Annotated[float, typer.Option(help="Share of rows to test on.")] = 0.2,
    valid: Annotated[float, typer.Option(help="Share of rows to tune on.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Seed of the allocation.")] = 0,
    layout: Layout = "records",
    column: Columns = None,
) -> None:
    """Split by group, so that no prompt or near duplicate stands on two sides; checked for leaks."""
    from demur.config import parse_settings
    from demur.data import SplitConfig, assign_groups, check_leak, split_records, write_records
    from demur.tasks import load_task

    chosen = load_task(task)
    config = parse_settings(SplitConfig, {"test": test, "valid": valid, "seed": seed}, "the options")
    records = _load(path, layout, column, [chosen], None).labelled(chosen)
    records = assign_groups(records, fields=chosen.fields)
    found = split_records(records, chosen, config)
    check_leak(records, found, task=chosen)
    for name, rows in (("train", found.train), ("valid", found.valid), ("test", found.test)):
        if rows is not None and len(rows):
            part = records.take(rows)
            write_records(part, out / f"{name}.jsonl")
            counts = dict(part.frame[chosen.name].value_counts(sort=True).iter_rows())
            print(f"{name}: {len(part)} rows, {part.frame['group'].n_unique()} groups, {counts}")


@app.command("stats")
def stats(
    path: FilePath, layout: Layout = "records", column: Columns = None, task: Tasks = None, as_json: AsJson = False
) -> None:
    """Count rows by class, source, answering model and language; lengths and groups."""
    import json

    from demur.data import describe_records

    tasks = _load_tasks(task)
    summary = describe_records(_load(path, layout, column, tasks, None), tasks)
    if as_json:
        print(json.dumps(summary.to_json()))
    else:
        _print_frame(summary.frame())


@app.command("formats")
def formats() -> None:
    """List the layouts that can be read."""
    from demur.data.sources import SOURCES

    broken = SOURCES.broken()
    for name in SOURCES.names():
        words = broken.get(name) or (SOURCES.get(name).__doc__ or "").strip()
        print(f"{name:14} {words.splitlines()[0] if words else ''}")


def _load(
    path: str,
    layout: str,
    columns: list[str] | None,
    tasks: list[Any],
    quarantine: Path | None,
    keep_places: bool = False,
) -> Records:
    from demur.cli._options import parse_columns
    from demur.data import DataSource, load_sources

    source = DataSource(path=path, format=layout, columns=parse_columns(columns))
    return load_sources([source], tasks, quarantine, keep_places=keep_places)


def _forget_quarantine(folder: Path) -> None:
    """Remove what an earlier command set aside; its rows would be counted again."""
    for old in folder.glob("quarantine-*.jsonl"):
        old.unlink()


def _load_tasks(names: list[str] | None) -> list[Any]:
    from demur.tasks import BUILT_IN, load_task

    return [load_task(name) for name in names] if names else list(BUILT_IN.values())


def _print_frame(frame: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in frame.columns:
        table.add_column(name, overflow="fold", justify="right" if frame[name].dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(
            *("" if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in row)
        )
    Console().print(table)
