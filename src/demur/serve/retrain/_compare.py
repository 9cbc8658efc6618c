"""The third step: champion and challenger judge the golden set and the held-out recent rows; the gate decides.

No reference for the monitor is saved with the challenger: rows that somebody gave feedback on are no random sample
of the traffic, which would differ from them without any drift. The monitor takes the first live answers instead.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import ArtifactError
from demur.serve.retrain._collect import judged_field
from demur.serve.retrain._gate import GOLDEN, RECENT, JudgedSet, length_band, pass_gate
from demur.serve.retrain._gather import LABELLED_BY
from demur.serve.retrain._golden import check_hash, refuse_leaks
from demur.serve.retrain._order import Order, read_experiment
from demur.serve.retrain._train import check_files

if TYPE_CHECKING:
    from demur.data import Records
    from demur.models import BaseClassifier, Predictions
    from demur.tasks import Task


def compare(order: Order) -> dict[str, Any]:
    """Compare the trained challenger with the champion; the verdict, and the row that would be registered.

    Raises
    ------
    ArtifactError
        A model cannot be loaded.
    LeakError
        The data are not as they were gathered, or the golden set stands in the training rows.
    DataError
        The golden set was changed.
    """
    from demur.data import read_records
    from demur.serve.pool import find_models

    check_files(order)
    check_hash(order.settings)
    config, task = read_experiment(order.settings, order.task)
    golden, recent = read_records(order.files.golden), _read_recent(order)
    leaks = refuse_leaks(golden, read_records(order.files.train), task, config.group_similarity)
    trained = order.files.result("training")
    assert trained is not None
    (row,) = [one for one in find_models([trained["folder"]]) if one.task == task.name]
    models = {"champion": _load(Path(order.champion)), "challenger": _load(Path(row.folder))}
    _check_same_task(models, task)
    point, missing = _shared_point(models, order.operating_point)
    sets = [_judge(GOLDEN, golden, models, task, point)]
    if recent is not None:
        sets.append(_judge(RECENT, recent, models, task, point))
    slices = tuple(dict.fromkeys((*order.settings.compare.slices, LABELLED_BY)))
    report = pass_gate(task, sets, order.settings.compare.model_copy(update={"slices": slices}))
    report = replace(report, reasons=(*missing, *report.reasons))
    return {
        "champion": order.champion_version,
        "challenger": {"version": row.version, "name": row.name, "folder": row.folder},
        "rows": {one.name: len(one.champion) for one in sets},
        "leak_check": leaks,
        "operating_point": point,
        "threat_labels": list(task.threat_labels),
        "gate": report.to_json(),
    }


def _read_recent(order: Order) -> Records | None:
    from demur.data import read_records
    from demur.errors import EmptyDataError

    try:
        return read_records(order.files.recent)
    except EmptyDataError:
        return None


def _load(folder: Path) -> BaseClassifier[Any]:
    """A model as the guard runs it: by ONNX Runtime where it was exported."""
    from demur.models import load

    return load(folder, "onnx" if (folder / "onnx").is_dir() else "native")


def _check_same_task(models: dict[str, BaseClassifier[Any]], task: Task) -> None:
    for name, model in models.items():
        if model.task.labels != task.labels:
            raise ArtifactError(
                f"the {name} answers {', '.join(model.task.labels)}, and the experiment's task '{task.name}' has "
                f"{', '.join(task.labels)}; give the experiment the task that is served"
            )


def _shared_point(models: dict[str, BaseClassifier[Any]], wanted: str | None) -> tuple[str | None, list[str]]:
    """The operating point that both are guarded at, and what speaks against a challenger that lacks it."""
    points = {
        name: [point.name for point in model.operating.points if point.threshold.value is not None]
        if model.operating is not None
        else []
        for name, model in models.items()
    }
    served = wanted if wanted in points["champion"] else next(iter(points["champion"]), None)
    if served is None:
        return None, []
    if served not in points["challenger"]:
        return None, [
            f"it has no operating point {served}, which the champion is served at; see ready: of the experiment"
        ]
    return served, []


def _judge(
    name: str, rows: Records, models: dict[str, BaseClassifier[Any]], task: Task, point: str | None
) -> JudgedSet:
    from demur.analysis import Predicted

    said: dict[str, Predictions] = {who: model.predict(rows) for who, model in models.items()}
    truth = rows.targets(task)
    columns = {"group": rows.frame.get_column("group").to_list()}
    predicted = {who: Predicted(rows.texts("id"), truth, one.probabilities, columns) for who, one in said.items()}
    flagged = (
        {} if point is None else {point: (said["champion"].flagged(point), said["challenger"].flagged(point))}
    )
    return JudgedSet(name, predicted["champion"], predicted["challenger"], _columns(name, rows, task), flagged)


def _columns(name: str, rows: Records, task: Task) -> dict[str, list[str | None]]:
    """Values by which rows may be cut into slices."""
    import polars as pl

    texts = {"id", "prompt", "response", "group", task.name}
    found = {
        column: rows.frame.get_column(column).cast(pl.String).to_list()
        for column in rows.frame.columns
        if column not in texts and not rows.frame.get_column(column).dtype.is_nested()
    }
    if name == RECENT:
        found.pop("source", None)  # who labelled it says the same
    found["length"] = [length_band(len(text)) for text in rows.texts(judged_field(task))]
    return found
