"""The folder of one retraining: where its steps leave what the next ones go on from."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demur.paths import write_json


@dataclass(frozen=True)
class Spent:
    """What a step has cost so far, over all its processes and controllers."""

    begun: int = 0
    """Processes that were begun, save those that their controller ended for no fault of theirs."""
    seconds: float = 0.0
    """How long they ran."""


@dataclass(frozen=True)
class RetrainFolder:
    """Paths inside one retraining's folder. Whoever finds a result needs not do its step again."""

    root: Path

    @property
    def data(self) -> Path:
        """The gathered texts; gone when the retraining has ended, unless they are to be kept."""
        return self.root / "data"

    @property
    def train(self) -> Path:
        """What is trained on: the original data and the new rows."""
        return self.data / "train.parquet"

    @property
    def extra(self) -> Path:
        """The experiment's extra rows, less those too near to the golden set."""
        return self.data / "extra.parquet"

    @property
    def recent(self) -> Path:
        """New rows that are never trained on."""
        return self.data / "recent.parquet"

    @property
    def golden(self) -> Path:
        """The golden set as it is judged: repaired, with groups and languages."""
        return self.data / "golden.parquet"

    @property
    def run(self) -> Path:
        """The run folder of the experiment."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """What the processes said; may hold texts in tracebacks, so it goes with them."""
        return self.data / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by the process that works."""
        return self.root / ".lock"

    def result(self, step: str) -> dict[str, Any] | None:
        """What a step left when it was done."""
        return _read(self.root / f"{step}.json")

    def write_result(self, step: str, facts: dict[str, Any]) -> None:
        """Say that a step is done."""
        write_json(self.root / f"{step}.json", facts)

    def error(self, step: str) -> dict[str, Any] | None:
        """Why a step failed when it was last tried."""
        return _read(self.root / f"{step}.error.json")

    def write_error(self, step: str, facts: dict[str, Any]) -> None:
        """Say that a step failed."""
        write_json(self.root / f"{step}.error.json", facts)

    def spent(self, step: str) -> Spent:
        """What a step has cost so far; nothing where nothing is known of it."""
        found = _read(self.root / f"{step}.spent.json") or {}
        try:
            return Spent(int(found["begun"]), float(found["seconds"]))
        except (KeyError, TypeError, ValueError):
            return Spent()

    def write_spent(self, step: str, spent: Spent) -> None:
        """Keep what a step has cost, so that no controller begins to count anew."""
        write_json(self.root / f"{step}.spent.json", asdict(spent))

    def forget(self, step: str) -> None:
        """Let a step be done anew."""
        for name in (f"{step}.json", f"{step}.error.json", f"{step}.spent.json"):
            (self.root / name).unlink(missing_ok=True)

    def forget_error(self, step: str) -> None:
        """Let a step that failed be tried again."""
        (self.root / f"{step}.error.json").unlink(missing_ok=True)

    def tidy(self) -> bool:
        """Delete the gathered texts and what the run needs only to go on; whether there was any of it."""
        found = [one for one in (self.data, self.run / "cells", self.run / "models") if one.exists()]
        for one in found:
            shutil.rmtree(one, ignore_errors=True)
        return bool(found)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
