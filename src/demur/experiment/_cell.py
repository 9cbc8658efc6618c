"""One cell of an experiment: one model on one task, through every protocol.

Each fit leaves its predictions in a part file named by a hash of all that it depends on. A killed cell goes on
with the parts it has; another protocol or seed costs its own fits alone; other intervals cost none.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.data import Records, Split
from demur.engine import PeakMemory, measure_speed
from demur.errors import StorageError, TrainingError, is_disk_full, translate_os_error
from demur.experiment._fit import FitJob, fit_job
from demur.experiment._judge import judge_protocol, judge_ready, judge_seeds
from demur.experiment._plan import Cell, Part
from demur.experiment._prepare import TaskData
from demur.experiment._status import describe_failure, during, free_memory
from demur.models import BaseClassifier, Thresholds, find_preset, make_ready, save_classifier, without_memory
from demur.paths import replace_when_done, write_json

Step = Callable[[str], None]


def run_cell(cell: Cell, step: Step) -> dict[str, Any]:
    """Run a cell, or give back its finished result.

    A model that fails gives a result with a status, ``failed`` or ``skipped``, and the reason; only a full disk
    or an interruption ends the run.
    """
    task, name = cell.data.task.name, cell.spec.name
    try:
        return _run(cell, step)
    except StorageError:
        raise
    except Exception as error:  # one model's fault must not end the others; MemoryError is one
        if is_disk_full(error):
            raise translate_os_error(error, f"fitting {name} for {task}") from error
        status, reason = describe_failure(error)
    free_memory()
    result = _empty_result(cell) | {"status": status, "reason": reason}
    shutil.rmtree(cell.folder.model(task, name), ignore_errors=True)
    cell.curves.remove()
    _drop_stale_predictions(cell, result)
    return result  # not kept: the next run tries again


def _run(cell: Cell, step: Step) -> dict[str, Any]:
    task, name = cell.data.task.name, cell.spec.name
    every = [None, *cell.parts]
    is_done = all(cell.is_fitted(part) for part in every)
    for part in every:
        words = cell.title if part is None or is_done else f"{cell.title} · {part.words}"
        step(f"{words} (done before)" if is_done else words)
        if is_done or cell.is_fitted(part):
            continue
        if part is None:
            _fit_main(cell)
        else:
            with during(part.words):
                _fit_part(cell, part)
        shutil.rmtree(cell.work, ignore_errors=True)
    frames = _gather(cell)
    judged = cell.folder.read_cell(task, name, cell.judge_key)
    if judged is None or set(judged["evaluations"]) != set(frames):
        judged = _judge(cell, frames)
        cell.folder.write_cell(task, name, cell.judge_key, judged)
    for protocol, frame in frames.items():
        _write_frame(cell.folder.predictions(task, name, protocol), frame)
    facts: dict[str, Any] = json.loads(cell.facts_path.read_text(encoding="utf-8"))
    result = _empty_result(cell) | facts | judged
    result["ready"] = facts["ready"] and facts["ready"] | judged["ready"]
    _drop_stale_predictions(cell, result)
    _drop_stale_parts(cell)
    return result


def _gather(cell: Cell) -> dict[str, pl.DataFrame]:
    """Predictions by protocol, from the part files."""
    frames = {side: pl.read_parquet(cell.path_of(None, side)) for side in cell.main_sides()}
    for protocol in cell.protocols():
        parts = [part for part in cell.parts if part.protocol == protocol]
        frames[protocol] = pl.concat([pl.read_parquet(cell.path_of(part, protocol)) for part in parts])
    return frames


def _judge(cell: Cell, frames: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """The part of the result that draws and level change; the rest are facts of the main fit."""
    task, config = cell.data.task, cell.config
    main = cell.data.main
    held = main.test if main.valid is None else np.concatenate([main.test, main.valid])
    held_ids = cell.data.records.take(held).texts("id")
    sides = list(cell.main_sides())
    seeds = {config.first_seed: {side: frames[side] for side in sides}}
    for part in cell.parts:
        if part.protocol == "seed":
            seeds[part.seed] = {side: pl.read_parquet(cell.path_of(part, side)) for side in sides}
    evaluations = {
        protocol: judge_protocol(task, protocol, frame, config, held_ids) for protocol, frame in frames.items()
    }
    thresholds = Thresholds.load(cell.folder.model(task.name, cell.spec.name))
    found = {"evaluations": evaluations, "seeds": judge_seeds(task, seeds, config)}
    return found | {"ready": judge_ready(thresholds, frames, config)}


def _fit_main(cell: Cell) -> None:
    """Fit on the training rows, measure what that and judging cost, save the model and its predictions."""
    rows = cell.main_sides()
    cell.facts_path.unlink(missing_ok=True)  # killed half-way, it would pass for the new model's
    with PeakMemory() as memory:
        start = time.perf_counter()
        fitted = fit_job(_job(cell, cell.data.main, cell.config.first_seed))
        fit_s = time.perf_counter() - start
        classifier = fitted.classifier
        frames, ready = _judge_sides(cell, classifier, rows)
        test = rows["test"]
        with without_memory():  # another model may have read the same texts before
            speed = measure_speed(lambda at: classifier.predict_proba(test.take(at)), len(test))
    facts: dict[str, Any] = {"fit_s": fit_s, "peak_memory_mb": memory.peak_mb} | speed
    facts["size_mb"] = _save(cell, classifier)
    for side, frame in frames.items():
        _write_frame(cell.path_of(None, side), frame)
    cell.curves.write(classifier, cell.spec.name)
    facts |= {"features": classifier.top_features(20), "best_params": classifier.best_params}
    facts |= {"search": fitted.search, "notes": fitted.notes, "ready": ready}
    facts |= {"diversity": getattr(classifier, "diversity", None)}
    write_json(cell.facts_path, facts)  # last: where it is, all the others are


def _judge_sides(
    cell: Cell, classifier: BaseClassifier[Any], rows: Mapping[str, Records]
) -> tuple[dict[str, pl.DataFrame], dict[str, Any] | None]:
    """Predictions of each side by the classifier, made ready on the validation rows; and how that went.

    Those of the validation rows themselves are cross-fitted, since its calibration has seen them.
    """
    report, known = None, {}
    if "valid" in rows:
        _check_probabilities(classifier.raw_proba(rows["valid"]))
        report = make_ready(classifier, rows["valid"], cell.config.ready, classifier.seed)
        known["valid"] = report.probabilities
    frames = {
        side: _predict(classifier, records, cell.data, side, known.get(side)) for side, records in rows.items()
    }
    return frames, report.to_json() if report is not None else None


def _fit_part(cell: Cell, part: Part) -> None:
    classifier = fit_job(_job(cell, part.split, part.seed, part)).classifier
    if part.protocol == "seed":
        frames, _ = _judge_sides(cell, classifier, cell.main_sides())
    else:
        fold = part.split.fold or str(part.number + 1)
        frames = {part.protocol: _predict(classifier, cell.data.records.take(part.split.test), cell.data, fold)}
    for side, frame in frames.items():
        _write_frame(cell.path_of(part, side), frame)


def _job(cell: Cell, split: Split, seed: int, part: Part | None = None) -> FitJob:
    params = cell.params_of(part) if part is not None else None
    key = cell.key_of_part(part) if part is not None else cell.key_of(split, seed)
    folder = cell.work / key[:16]
    trials = cell.folder.trials(cell.data.task.name, cell.spec.name)
    return FitJob(cell.spec, cell.data, split, seed, folder, cell.others, cell.tell, params, trials)


def _save(cell: Cell, classifier: BaseClassifier[Any]) -> float:
    """Save the classifier with the key it was fitted from; its size in MB."""
    path = cell.folder.model(cell.data.task.name, cell.spec.name)
    shutil.rmtree(path, ignore_errors=True)  # whatever an earlier run left there, whole or not
    save_classifier(classifier, path, {"run": cell.config.name, "model": cell.spec.name, "key": cell.key})
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


def _write_frame(path: Path, frame: pl.DataFrame) -> None:
    with replace_when_done(path) as part:
        frame.write_parquet(part)


def _check_probabilities(probabilities: NDArray[np.float64]) -> None:
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise TrainingError(
            f"the fitted model gives NaN or infinite probabilities for {bad} of {len(probabilities)} rows; "
            "try a lower learning rate or other settings"
        )


def _predict(
    classifier: BaseClassifier[Any],
    records: Records,
    data: TaskData,
    fold: str,
    known: NDArray[np.float64] | None = None,
) -> pl.DataFrame:
    """A row for each record; ``known`` are probabilities that need not be asked for again."""
    probabilities = classifier.predict_proba(records) if known is None else known
    _check_probabilities(probabilities)
    columns: dict[str, Any] = {
        "id": records.frame.get_column("id"),
        "group": records.frame.get_column("group"),
        "source": records.frame.get_column("source"),
        "answerer": records.frame.get_column("model"),
        "fold": [fold] * len(records),
        "y": records.targets(data.task),
    }
    columns |= {f"p_{number}": probabilities[:, number] for number in range(probabilities.shape[1])}
    return pl.DataFrame(columns)


def _drop_stale_predictions(cell: Cell, result: dict[str, Any]) -> None:
    """Remove predictions of protocols that are no longer on: the report would take them for this run's."""
    folder = cell.folder.predictions(cell.data.task.name, cell.spec.name, "x").parent
    for path in folder.glob("*.parquet"):
        if path.stem not in result["evaluations"]:
            path.unlink()


def _drop_stale_parts(cell: Cell) -> None:
    """Remove what fits of other settings left."""
    wanted = {path for part in (None, *cell.parts) for path in cell.files_of(part)}
    for path in cell.facts_path.parent.iterdir():
        if path.is_file() and path not in wanted:
            path.unlink()


def _empty_result(cell: Cell) -> dict[str, Any]:
    return {
        "model": cell.spec.name,
        "family": cell.spec.family or _family_of(cell.spec.preset),
        "status": "ok",
        "reason": None,
        "best_params": {},
        "search": None,
        "ready": None,
        "diversity": None,
        "notes": [],
        "selected": False,
        "failed_thresholds": [],
        "fit_s": None,
        "latency_ms_p50": None,
        "latency_ms_p95": None,
        "throughput_per_s": None,
        "peak_memory_mb": None,
        "size_mb": None,
        "evaluations": {},
        "seeds": None,
        "features": None,
    }


def _family_of(preset: str | None) -> str | None:
    try:
        return find_preset(preset)[0].family if preset else None
    except LookupError:
        return None
