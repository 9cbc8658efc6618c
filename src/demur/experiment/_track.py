"""Copies of a finished run in MLflow: a parent run, and under it one for each model and task.

The run folder stays the truth: tracking reads it, never writes to it, and its failure is a warning.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from demur.errors import MissingDependencyError, require
from demur.experiment._config import ExperimentConfig, MlflowConfig
from demur.experiment._folder import RunFolder

COSTS = ("fit_s", "latency_ms_p50", "latency_ms_p95", "throughput_per_s", "peak_memory_mb", "size_mb")
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_BATCH = 90
"""Below the 100 parameters and tags that one request may bear."""
_LONGEST = 500
_LOCAL_STORE = re.compile(r"^sqlite:///(?P<path>.+)$")
_PASSWORD = re.compile(r"://[^/\s]*@")
"""The user and password of an address."""


def track_run(
    config: ExperimentConfig, folder: RunFolder, results: Mapping[str, Any], say: Callable[[str], None]
) -> None:
    """Log a finished run where the configuration asks for it; say what went wrong, and go on.

    Parameters
    ----------
    results
        The contents of ``experiment_results.json``.
    say
        Told of a tracking that failed.
    """
    settings = config.tracking.mlflow
    if settings is None:
        return
    try:
        with _quiet_mlflow():
            _Tracker(settings, config, folder).log(results)
    except MissingDependencyError as error:
        say(f"not tracked: {error}")
    except Exception as error:  # a tracking server may fail in any way; the run is done
        words = _PASSWORD.sub("://***@", " ".join(str(error).split()))[:_LONGEST]
        say(
            f"not tracked: MLflow said {type(error).__name__}: {words}; check tracking.mlflow and run the same "
            f"command again. Everything is in {folder.root}"
        )


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """MLflow without telemetry, progress bars and chatter, and with an end to its waiting."""
    before = dict(os.environ)
    os.environ.update(_QUIET)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    try:
        require("mlflow", extra="track")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name in (*_QUIET, *_PATIENCE):
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


class _Tracker:
    """Logs one run through one client; no global state of MLflow is touched."""

    def __init__(self, settings: MlflowConfig, config: ExperimentConfig, folder: RunFolder) -> None:
        from mlflow import MlflowClient

        uri = settings.uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            raise ValueError("no store is named; set tracking.mlflow.uri or MLFLOW_TRACKING_URI")
        self.client = MlflowClient(tracking_uri=uri)
        self.settings, self.config, self.folder = settings, config, folder
        self.experiment = self._find_experiment(uri)

    def _find_experiment(self, uri: str) -> str:
        found = self.client.get_experiment_by_name(self.settings.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = self.settings.artifacts
        local = _LOCAL_STORE.match(uri)
        if location is None and local is not None:  # else MLflow takes the folder the command was started in
            location = (Path(local["path"]).resolve().parent / "mlartifacts").as_uri()
        return str(self.client.create_experiment(self.settings.experiment, artifact_location=location))

    def log(self, results: Mapping[str, Any]) -> None:
        tags = {"demur.run": results["name"], "demur.version": results["versions"]["demur"]}
        with self._run(results["name"], tags) as parent:
            config = self.config.model_dump(mode="json", exclude={"models", "data", "blind", "tracking"})
            self._log(parent, _flatten(config), parent_metrics(results))
            self._add_run_file(parent)
            for name in ("experiment_results.json", "results.csv", "report.html", "images"):
                self._add(parent, self.folder.root / name, None)
            for task, found in results["tasks"].items():
                for model in found["models"]:
                    self._log_model(parent, task, model)

    def _log_model(self, parent: str, task: str, model: Mapping[str, Any]) -> None:
        name = model["model"]
        tags = {"mlflow.parentRunId": parent, "demur.task": task, "demur.model": name}
        tags |= {"demur.status": model["status"], "demur.selected": str(model["selected"]).lower()}
        if model["reason"]:
            tags["demur.reason"] = model["reason"][:_LONGEST]
        spec = next((one for one in self.config.models if one.name == name), None)
        params = {"task": task, "model": name, "family": model["family"], "seed": self.config.first_seed}
        params |= _flatten(spec.settings, "settings.") if spec is not None else {}
        params |= _flatten(model["best_params"], "best.")
        with self._run(f"{task}/{name}", tags, "FAILED" if model["status"] == "failed" else "FINISHED") as run:
            self._log(run, params, model_metrics(model))
            self._log_curve(run, self.folder.curves(task, name).curve)
            self._add(run, self.folder.curves(task, name).alpha, "curves")
            if model["status"] == "ok" and self.settings.models:
                self._add(run, self.folder.model(task, name), "model")

    @contextmanager
    def _run(self, name: str, tags: Mapping[str, str], status: str = "FINISHED") -> Iterator[str]:
        """A run that ends with ``status``, or failed where not all of it could be logged."""
        run = self._start(name, tags)
        try:
            yield run
        except BaseException:
            with suppress(Exception):  # what went wrong before says more
                self.client.set_terminated(run, "FAILED")
            raise
        self.client.set_terminated(run, status)

    def _start(self, name: str, tags: Mapping[str, str]) -> str:
        return str(self.client.create_run(self.experiment, run_name=name, tags=dict(tags)).info.run_id)

    def _log(self, run: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        named = [Param(_clean(key), str(value)[:_LONGEST]) for key, value in params.items()]
        measured = [Metric(_clean(key), value, now, 0) for key, value in metrics.items()]
        for start in range(0, max(len(named), len(measured)), _BATCH):
            part = slice(start, start + _BATCH)
            self.client.log_batch(run, metrics=measured[part], params=named[part])

    def _log_curve(self, run: str, path: Path) -> None:
        """The learning curve as metrics over steps, and as its file."""
        from mlflow.entities import Metric

        if not path.is_file():
            return
        now = int(time.time() * 1000)
        history = json.loads(path.read_text(encoding="utf-8"))["history"]
        points = [
            Metric(f"curve.{_clean(name)}", float(value), now, number)
            for number, row in enumerate(history, start=1)
            for name, value in row.items()
            if isinstance(value, int | float)
        ]
        for start in range(0, len(points), _BATCH):
            self.client.log_batch(run, metrics=points[start : start + _BATCH])
        self._add(run, path, "curves")

    def _add_run_file(self, run: str) -> None:
        """``run.json`` without the store's address, which may hold a password."""
        try:
            found = json.loads(self.folder.run_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        found.get("config", {}).pop("tracking", None)
        self.client.log_text(run, json.dumps(found, indent=2, ensure_ascii=False), self.folder.run_file.name)

    def _add(self, run: str, path: Path, where: str | None) -> None:
        if path.is_dir():
            self.client.log_artifacts(run, str(path), where or path.name)
        elif path.is_file():
            self.client.log_artifact(run, str(path), where)


def parent_metrics(results: Mapping[str, Any]) -> dict[str, float]:
    """The winners' figures on the test rows, by task, and how long the run took."""
    found = {"seconds": float(results["seconds"])}
    for task, entry in results["tasks"].items():
        for model in entry["models"]:
            if model["selected"]:
                metrics = _figures(model["evaluations"].get("test", {}))
                found |= {f"{task}.test.{name}": value for name, value in metrics.items()}
    return found


def model_metrics(model: Mapping[str, Any]) -> dict[str, float]:
    """Every figure of a model with its interval, mean and deviation over folds and seeds, and its costs."""
    found = {name: float(model[name]) for name in COSTS if model.get(name) is not None}
    for protocol, evaluation in model["evaluations"].items():
        found |= {f"{protocol}.{name}": value for name, value in _figures(evaluation).items()}
        found |= _spreads(f"{protocol}.folds", evaluation.get("over_folds", {}))
    for protocol, spreads in ((model.get("seeds") or {}).get("evaluations") or {}).items():
        found |= _spreads(f"{protocol}.seeds", spreads)
    return found


def _figures(evaluation: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, figure in evaluation.get("metrics", {}).items():
        for part, key in (("value", name), ("low", f"{name}.low"), ("high", f"{name}.high"), ("n", f"{name}.n")):
            if figure.get(part) is not None and figure.get("value") is not None:
                found[key] = float(figure[part])
    return found


def _spreads(prefix: str, spreads: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{prefix}.{name}.{part}": float(figure[part])
        for name, figure in spreads.items()
        for part in ("mean", "std")
        if figure.get(part) is not None
    }


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _clean(name: str) -> str:
    """A name with the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name)
