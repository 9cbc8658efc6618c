"""``demur models``: what there is to train, and what a saved model is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="List families and presets; show a saved model, or prepare it.")


@app.command("list")
def list_models(
    folder: Annotated[Path | None, typer.Argument(help="A run folder: list its saved models instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that can be trained, or those saved in a run folder."""
    import json

    from rich.console import Console
    from rich.table import Table

    from demur.models import CLASSIFIERS, list_presets, list_saved

    table = Table(box=None, pad_edge=False)
    rows: list[dict[str, object]]
    if folder is None:
        rows = [
            {"model": name, "family": family, "settings": settings}
            for name, (family, settings) in sorted(list_presets().items(), key=lambda item: item[1][0])
        ]
        for reason in CLASSIFIERS.broken().values():
            print(f"demur: left out: {reason}", file=sys.stderr)
    else:
        rows = list_saved(folder)
    if as_json:
        print(json.dumps(rows))
        return
    for name in rows[0] if rows else ["nothing"]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None or value == {} else str(value) for value in row.values()))
    Console().print(table)


@app.command("show")
def show_model(
    folder: Annotated[Path, typer.Argument(help="A saved model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a saved model is; checks that none of its files is missing or altered."""
    import json

    from demur.models import read_manifest

    manifest = read_manifest(folder)
    shown = {name: value for name, value in manifest.items() if name not in ("probe", "files")}
    shown["files"] = sorted(manifest["files"])
    if as_json:
        print(json.dumps(shown))
        return
    task = manifest["task"]
    print(f"{task['name']}: {', '.join(task['labels'])} (reads {' and '.join(task['fields'])})")
    print(f"family {manifest['family']}, seed {manifest['seed']}, all {len(shown['files'])} files as saved")
    print("settings " + json.dumps(manifest["config"]))
    print("made with " + ", ".join(f"{name} {number}" for name, number in manifest["versions"].items()))


@app.command("export")
def export_model(
    folder: Annotated[Path, typer.Argument(help="A saved transformer model.")],
    data: Annotated[str, typer.Option("--data", "-d", help="Some hundred rows like those to be judged.")],
    column: Annotated[
        list[str] | None, typer.Option("--column", "-c", help="Map a column: prompt=question; may repeat.")
    ] = None,
) -> None:
    """Add ONNX models in fp32 and int8 to a saved transformer; int8 only if it gives the same labels."""
    from demur.cli._options import parse_columns
    from demur.data import DataSource, load_sources
    from demur.errors import UsageError
    from demur.models import export_onnx, load

    classifier = load(folder)
    if not hasattr(classifier, "row_encoder"):
        raise UsageError(
            f"the model in {folder} is of the family '{classifier.family}'; only transformers are exported"
        )
    rows = load_sources([DataSource(path=data, columns=parse_columns(column), limit=400)], [])
    report = export_onnx(classifier, folder, rows)  # type: ignore[arg-type]
    print(f"fp32: largest difference of a probability {report.max_difference:.1e}, n={report.rows}")
    if report.recipe is None:
        print(f"int8 was refused ({report.reason}); fp32 will be used")
    else:
        print(
            f"int8 ({report.recipe}): {report.agreement:.1%} equal labels, n={report.rows}; "
            f"{report.rechecked:.1%} of the rows are close calls left to fp32"
        )


@app.command("reference")
def save_monitor_reference(
    folder: Annotated[Path, typer.Argument(help="A saved model.")],
    data: Annotated[str, typer.Option("--data", "-d", help="Rows it did not learn from, like those to come.")],
    column: Annotated[
        list[str] | None, typer.Option("--column", "-c", help="Map a column: prompt=question; may repeat.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="As monitor.inputs.encoder; none: words and characters.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Save with a model what the guard's monitor compares traffic with; no text is kept."""
    import json

    from demur.cli._options import parse_columns
    from demur.data import DataSource, load_sources
    from demur.models import load
    from demur.serve.monitor import make_reference, save_reference

    classifier = load(folder)
    source = DataSource(path=data, columns=parse_columns(column), limit=20_000)
    reference = make_reference(classifier, load_sources([source], [classifier.task]), encoder)
    save_reference(folder, reference)
    if as_json:
        print(json.dumps({"task": reference.task, "rows": len(reference.frame), **reference.facts}))
        return
    print(f"the reference of task '{reference.task}' has {len(reference.frame)} rows")
    if "accuracy" in reference.facts:
        print(
            f"accuracy {reference.facts['accuracy']:.3f}, estimated without labels "
            f"{reference.facts['estimated_accuracy']:.3f}, n={reference.facts['labelled_rows']}"
        )
