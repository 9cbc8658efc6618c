"""What a run writes of itself: ``run.json`` from the first fit on, results and table at its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from demur.engine import describe_machine
from demur.experiment._config import ExperimentConfig
from demur.experiment._folder import RunFolder
from demur.paths import write_json


@dataclass(frozen=True)
class RunRecord:
    """Writes down what a run is, that it has begun, and how it ended."""

    config: ExperimentConfig
    folder: RunFolder
    versions: dict[str, str]
    data_hashes: dict[str, str | None]

    def begin(self) -> None:
        """Say that models are being replaced: an earlier run's results and choice no longer hold.

        Raises
        ------
        StorageError
            The disk is full or not writable.
        """
        for path in (self.folder.results_file, self.folder.csv_file, self.folder.root / "report.html"):
            path.unlink(missing_ok=True)
        self._write("running", _now(), {}, {})

    def end(self, results: dict[str, Any], spans: dict[str, float]) -> None:
        """Write results, table and, last, that the run is done.

        Raises
        ------
        StorageError
            The disk is full or not writable.
        """
        from demur.report import write_results_csv

        write_json(self.folder.results_file, results)
        write_results_csv(self.folder.csv_file, results)
        winners = {name: task["winner"] for name, task in results["tasks"].items()}
        self._write("done", results["created"], winners, {"total_s": results["seconds"]} | spans)

    def _write(self, status: str, created: str, winners: dict[str, Any], spans: dict[str, float]) -> None:
        write_json(
            self.folder.run_file,
            {
                "format": 1,
                "status": status,
                "created": created,
                "config": self.config.model_dump(mode="json"),
                "seed": self.config.seed,
                "seeds": list(self.config.seeds) or [self.config.seed],
                "versions": self.versions,
                "machine": describe_machine(),
                "data_hashes": self.data_hashes,
                "winners": winners,
                "timings": spans,
            },
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
