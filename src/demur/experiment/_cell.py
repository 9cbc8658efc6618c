"""One cell of an experiment: one model on one task, through every protocol.

Each fit leaves its predictions in a part file named by a hash of all that it depends on. A killed cell goes on
with the parts it has; another protocol or seed costs its own fits alone; other intervals cost none.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.data import Records, Split
from demur.engine import PeakMemory, measure_speed
from demur.errors import DemurError, StorageError, TrainingError, is_disk_full, translate_os_error
from demur.experiment._config import ExperimentConfig, ModelSpec
from demur.experiment._curves import CurveFiles
from demur.experiment._fit import FitJob, Tell, fit_job, resolve_spec, tell_nobody
from demur.experiment._folder import RunFolder
from demur.experiment._judge import judge_protocol, judge_seeds
from demur.experiment._key import hash_code, hash_files, hash_judging, hash_split
from demur.experiment._prepare import TaskData
from demur.experiment._status import describe_failure, during, free_memory
from demur.models import BaseClassifier, find_preset, save_classifier, without_memory
from demur.paths import hash_value, replace_when_done, write_json

Step = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """One fit beside the main one."""

    protocol: str
    """``cv``, ``leave_one_model_out``, ``leave_one_source_out``, or ``seed``: the main split with another seed."""
    number: int
    split: Split
    seed: int

    @property
    def words(self) -> str:
        """What it is, for progress and reasons."""
        if self.protocol == "seed":
            return f"seed {self.seed}"
        return f"{self.protocol.replace('_', ' ')} {self.split.fold or self.number + 1}"


@dataclass(frozen=True)
class Cell:
    """What one cell needs."""

    spec: ModelSpec
    data: TaskData
    config: ExperimentConfig
    folder: RunFolder
    versions: dict[str, str]
    others: Mapping[str, TaskData] = field(default_factory=dict)
    """All tasks of the experiment by name."""
    tell: Tell = tell_nobody

    @property
    def title(self) -> str:
        """What it is called in progress."""
        return f"{self.data.task.name} · {self.spec.name}"

    @cached_property
    def family(self) -> str:
        """The name of its family."""
        return resolve_spec(self.spec)[0].family

    @cached_property
    def _basis(self) -> dict[str, Any]:
        family, settings = resolve_spec(self.spec)
        searched = [hash_split(self.data.main), self.config.first_seed] if self.spec.search else None
        files = hash_files(settings.model_dump(mode="json"))
        companions = {name: data.hashes["hash"] for name, data in self.others.items()}
        return (
            ({"files": files} if files else {})
            | ({"companions": companions} if family.wants_companions else {})
            | ({"searched": searched} if searched else {})
            | {
                "spec": self.spec.model_dump(mode="json", exclude={"tasks", "protocols"}),
                "task": self.data.task.model_dump(mode="json"),
                "data": self.data.hashes["hash"],
                "versions": self.versions,
                "code": hash_code(family),
            }
        )

    def key_of(self, split: Split, seed: int) -> str:
        """Hash of everything a fit depends on."""
        return hash_value(self._basis | {"split": hash_split(split), "seed": seed})

    @cached_property
    def key(self) -> str:
        """Hash of everything the main fit, its predictions and its costs depend on."""
        blind = self.data.hashes["blind_hash"]
        return hash_value([self.key_of(self.data.main, self.config.first_seed), blind])

    def protocols(self) -> dict[str, list[Split]]:
        """The further protocols this model goes through."""
        folds = self.config.validation.folds_for(self.family)
        on = ({"cv": self.data.cv[folds]} if folds in self.data.cv else {}) | self.data.protocols
        wanted = self.spec.protocols
        return {name: splits for name, splits in on.items() if not wanted or name in wanted}

    @cached_property
    def parts(self) -> list[Part]:
        """Every fit beside the main one."""
        found = [
            Part(protocol, number, split, self.config.first_seed)
            for protocol, splits in self.protocols().items()
            for number, split in enumerate(splits)
        ]
        if len(self.config.seeds) > 1 and self._is_seeded():
            found += [Part("seed", 0, self.data.main, seed) for seed in self.config.seeds[1:]]
        return found

    def _is_seeded(self) -> bool:
        family, settings = resolve_spec(self.spec)
        try:
            return family(self.data.task, settings).is_seeded
        except DemurError:  # it will say so when it is fitted
            return False

    @cached_property
    def judge_key(self) -> str:
        """Hash of everything the figures depend on."""
        fits = [[part.protocol, part.number, self.key_of(part.split, part.seed)] for part in self.parts]
        settings = self.config
        return hash_value([self.key, fits, settings.draws, settings.level, settings.seed, hash_judging()])

    def fits(self) -> int:
        """How many times the model is fitted."""
        return 1 + len(self.parts)

    def main_sides(self) -> dict[str, Records]:
        """The rows that the main fit judges."""
        sides = {"valid": self.data.main.valid, "test": self.data.main.test}
        rows = {name: self.data.records.take(at) for name, at in sides.items() if at is not None and len(at)}
        return rows | ({"blind": self.data.blind} if self.data.blind is not None else {})

    def path_of(self, part: Part | None, side: str) -> Path:
        """The part file of a fit (None: the main one) and of what it judges."""
        if part is None:
            return self._file(f"{side}-{self.key[:16]}")
        key = self.key_of(part.split, part.seed)
        if part.protocol == "seed":  # the blind rows are not part of a fit's key
            key = hash_value([key, self.data.hashes["blind_hash"]])
            return self._file(f"seed-{part.seed}-{side}-{key[:16]}")
        return self._file(f"{side}-{part.number}-{key[:16]}")

    def files_of(self, part: Part | None) -> list[Path]:
        """Every part file of a fit."""
        if part is None:
            return [*(self.path_of(None, side) for side in self.main_sides()), self.facts_path]
        sides = list(self.main_sides()) if part.protocol == "seed" else [part.protocol]
        return [self.path_of(part, side) for side in sides]

    @property
    def facts_path(self) -> Path:
        """Costs and such of the main fit; written last."""
        return self._file(f"facts-{self.key[:16]}").with_suffix(".json")

    @property
    def work(self) -> Path:
        """For checkpoints of a fit under way."""
        return self._file("x").parent / "work"

    @property
    def curves(self) -> CurveFiles:
        """Learning curve and class weights."""
        return self.folder.curves(self.data.task.name, self.spec.name)

    def is_fitted(self, part: Part | None) -> bool:
        """Whether the files of a fit are all there."""
        has_model = part is not None or self.folder.has_model(self.data.task.name, self.spec.name, self.key)
        return all(path.exists() for path in self.files_of(part)) and has_model

    def _file(self, name: str) -> Path:
        return self.folder.part(self.data.task.name, self.spec.name, name)


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
    result = cell.folder.read_cell(task, name, cell.judge_key)
    if result is None or set(result["evaluations"]) != set(frames):
        result = _judge(cell, frames)
        cell.folder.write_cell(task, name, cell.judge_key, result)
    for protocol, frame in frames.items():
        _write_frame(cell.folder.predictions(task, name, protocol), frame)
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
    task, config = cell.data.task, cell.config
    reported = cell.data.records.take(cell.data.main.test).texts("id")
    facts: dict[str, Any] = json.loads(cell.facts_path.read_text(encoding="utf-8"))
    sides = list(cell.main_sides())
    seeds = {config.first_seed: {side: frames[side] for side in sides}}
    for part in cell.parts:
        if part.protocol == "seed":
            seeds[part.seed] = {side: pl.read_parquet(cell.path_of(part, side)) for side in sides}
    evaluations = {
        protocol: judge_protocol(task, protocol, frame, config, reported) for protocol, frame in frames.items()
    }
    return _empty_result(cell) | facts | {"evaluations": evaluations, "seeds": judge_seeds(task, seeds, config)}


def _fit_main(cell: Cell) -> None:
    """Fit on the training rows, measure what that and judging cost, save the model and its predictions."""
    data, rows = cell.data, cell.main_sides()
    with PeakMemory() as memory:
        start = time.perf_counter()
        fitted = fit_job(_job(cell, data.main, cell.config.first_seed))
        classifier = fitted.classifier
        fit_s = time.perf_counter() - start
        test = rows["test"]
        frames = _judge_sides(cell, classifier, rows)
        with without_memory():  # another model may have read the same texts before
            speed = measure_speed(lambda at: classifier.predict_proba(test.take(at)), len(test))
    facts: dict[str, Any] = {"fit_s": fit_s, "peak_memory_mb": memory.peak_mb} | speed
    facts["size_mb"] = _save(cell, classifier)
    for side, frame in frames.items():
        _write_frame(cell.path_of(None, side), frame)
    cell.curves.write(classifier, cell.spec.name)
    facts |= {"features": classifier.top_features(20), "best_params": classifier.best_params}
    facts |= {"search": fitted.search, "notes": fitted.notes}
    facts |= {"diversity": getattr(classifier, "diversity", None)}
    write_json(cell.facts_path, facts)  # last: where it is, all the others are


def _judge_sides(
    cell: Cell, classifier: BaseClassifier[Any], rows: Mapping[str, Records]
) -> dict[str, pl.DataFrame]:
    return {side: _predict(classifier, records, cell.data, side) for side, records in rows.items()}


def _fit_part(cell: Cell, part: Part) -> None:
    classifier = fit_job(_job(cell, part.split, part.seed, part)).classifier
    if part.protocol == "seed":
        frames = _judge_sides(cell, classifier, cell.main_sides())
    else:
        fold = part.split.fold or str(part.number + 1)
        frames = {part.protocol: _predict(classifier, cell.data.records.take(part.split.test), cell.data, fold)}
    for side, frame in frames.items():
        _write_frame(cell.path_of(part, side), frame)


def _job(cell: Cell, split: Split, seed: int, part: Part | None = None) -> FitJob:
    search, params = cell.spec.search, None
    if part is not None and search is not None and (part.protocol == "seed" or not search.nested):
        params = json.loads(cell.facts_path.read_text(encoding="utf-8"))["best_params"]
    folder = cell.work / cell.key_of(split, seed)[:16]
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


def _predict(classifier: BaseClassifier[Any], records: Records, data: TaskData, fold: str) -> pl.DataFrame:
    probabilities = classifier.predict_proba(records)
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
