"""The second step: the user's experiment on the gathered rows, and the model that it chose."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import LeakError, TrainingError
from demur.paths import hash_file, replace_folder_when_done
from demur.serve.retrain._order import Order, challenger_experiment, read_experiment

if TYPE_CHECKING:
    from demur.experiment import ExperimentResult

_CALIBRATION_ROWS = 300


def train(order: Order) -> dict[str, Any]:
    """Run the experiment, going on where an earlier process was killed, and keep a copy of the chosen model.

    Raises
    ------
    TrainingError
        No model could be trained, or none passed the thresholds of the experiment.
    LeakError
        A file of the gathered data is not as it was gathered.
    StorageError
        The disk is full or not writable.
    """
    from demur.experiment import run_experiment

    check_files(order)
    config, _ = read_experiment(order.settings, order.task)
    result = run_experiment(challenger_experiment(config, order.files), out=order.files.run)
    name, why = _winner(result, order.task)
    model = _keep(order, order.files.run / "models" / order.task / name)
    found = result.results["tasks"][order.task]
    chosen = next(one for one in found["models"] if one["model"] == name)
    return {
        "model": name,
        "why": why,
        "folder": str(model),
        "evaluations": {
            protocol: {figure: one["metrics"][figure] for figure in ("custom_score", "f1_macro", "accuracy")}
            for protocol, one in chosen["evaluations"].items()
        },
        "rows": {part: (found["data"].get(part) or {}).get("n") for part in ("train", "valid", "test", "blind")},
        "warnings": list(found["warnings"]),
        "seconds": result.results["seconds"],
    }


def check_files(order: Order) -> None:
    """Refuse gathered files that were changed since.

    Raises
    ------
    LeakError
        One is missing or another.
    """
    gathered = order.files.result("gathering") or {"hashes": {}}
    for name, wanted in gathered["hashes"].items():
        path = order.files.data / name
        if not path.is_file() or hash_file(path) != wanted:
            raise LeakError(f"the gathered file {path} is missing or was changed; retrain anew")


def _winner(result: ExperimentResult, task: str) -> tuple[str, str]:
    found = result.results["tasks"][task]
    if found["winner"] is None:
        failed = "; ".join(f"{one['model']}: {one['reason']}" for one in found["models"] if one["status"] != "ok")
        raise TrainingError(
            f"the experiment chose no challenger: {found['why']}{f' ({failed})' if failed else ''}"
        )
    return found["winner"], found["why"]


def _keep(order: Order, trained: Path) -> Path:
    """A copy outside the run folder, exported to ONNX where the champion is, so that both answer alike fast."""
    kept = order.models / order.task / f"{trained.name}-{order.folder.name}"
    with replace_folder_when_done(kept, f"keeping the model in {kept}") as part:
        shutil.copytree(trained, part, dirs_exist_ok=True)
    if (Path(order.champion) / "onnx").is_dir():
        _export(order, kept)
    return kept


def _export(order: Order, folder: Path) -> None:
    from demur.data import read_records
    from demur.models import export_onnx, load

    classifier: Any = load(folder)
    if not hasattr(classifier, "fields"):  # no torch family: nothing to export
        return
    rows = read_records(order.files.train)
    export_onnx(classifier, folder, rows.take(range(min(_CALIBRATION_ROWS, len(rows)))))
