"""The run folder: where each thing of an experiment lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.errors import ArtifactError
from demur.experiment._curves import CurveFiles
from demur.models import read_manifest
from demur.paths import write_json


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run folder."""

    root: Path

    @property
    def marker(self) -> Path:
        """Says, from the first moment on, that the folder is a run's."""
        return self.root / ".demur-run"

    @property
    def run_file(self) -> Path:
        """Configuration, versions, seeds, hashes, timings."""
        return self.root / "run.json"

    @property
    def results_file(self) -> Path:
        """Everything measured."""
        return self.root / "experiment_results.json"

    @property
    def csv_file(self) -> Path:
        """One row a task and model."""
        return self.root / "results.csv"

    @property
    def data(self) -> Path:
        """Cleaning report and quarantine."""
        return self.root / "data"

    def is_ours(self) -> bool:
        """Whether an earlier run made this folder; a folder ``data`` alone may be anybody's."""
        return any(path.exists() for path in (self.marker, self.run_file, self.data / "report-data.json"))

    def model(self, task: str, name: str) -> Path:
        """Folder of a saved classifier."""
        return self.root / "models" / task / name

    def predictions(self, task: str, name: str, protocol: str) -> Path:
        """Predictions of one protocol."""
        return self.root / "predictions" / task / name / f"{protocol}.parquet"

    def curves(self, task: str, name: str) -> CurveFiles:
        """Learning curve of a model, and how its class weights moved."""
        folder = self.root / "curves" / task
        return CurveFiles(folder / f"{name}.json", folder / f"alpha_trajectory_{name}.json")

    def trials(self, task: str, name: str) -> Path:
        """What a model's search tried."""
        return self.root / "search" / task / f"{name}.csv"

    def part(self, task: str, name: str, part: str) -> Path:
        """Predictions of one fit (and beside them, in JSON, its facts), for runs that need it again."""
        return self.root / "cells" / task / name / f"{part}.parquet"

    def cell(self, task: str, name: str) -> Path:
        """The finished result of a task and model."""
        return self.root / "cells" / task / f"{name}.json"

    def read_cell(self, task: str, name: str, key: str) -> dict[str, Any] | None:
        """The finished result of a cell, if it was computed from exactly this (``key``)."""
        path = self.cell(task, name)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        fitting = isinstance(stored, dict) and stored.get("key") == key
        return stored["result"] if fitting else None

    def has_model(self, task: str, name: str, key: str) -> bool:
        """Whether the saved classifier is whole and was fitted from exactly this (``key``)."""
        try:
            manifest = read_manifest(self.model(task, name))
        except ArtifactError:
            return False
        return bool(manifest.get("info", {}).get("key") == key)

    def write_cell(self, task: str, name: str, key: str, result: dict[str, Any]) -> None:
        """Keep a finished result."""
        write_json(self.cell(task, name), {"key": key, "result": result})
