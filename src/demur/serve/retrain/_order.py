"""What a process of a retraining is told, and the experiment that it is to run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.serve.retrain._config import TaskConfig
from demur.serve.retrain._folder import RetrainFolder

if TYPE_CHECKING:
    from demur.experiment import ExperimentConfig
    from demur.tasks import Task

Work = Literal["gathering", "training", "comparing"]
WORK: tuple[Work, ...] = ("gathering", "training", "comparing")
"""Steps that have a process."""


@dataclass(frozen=True)
class Order:
    """One step of one retraining."""

    id: str
    """Of the retraining."""
    work: Work
    task: str
    folder: Path
    models: Path
    """Where accepted models are kept."""
    settings: TaskConfig
    database: str
    """Address with password: for a pipe, and for nothing else."""
    at: datetime
    """When the retraining began; feedback after it is not gathered, so that a step tried again sees the same."""
    champion: str = ""
    """Folder of the model to compare with."""
    champion_version: str = ""
    operating_point: str | None = None
    """The point that decides ``flagged`` in the server."""
    nice: int = 0
    threads: int = 1

    @property
    def files(self) -> RetrainFolder:
        """The retraining's folder."""
        return RetrainFolder(self.folder)

    def to_text(self) -> str:
        """One line for a pipe."""
        values = asdict(self) | {"settings": self.settings.model_dump(mode="json"), "at": self.at.isoformat()}
        return json.dumps(values, default=str)

    @classmethod
    def from_text(cls, text: str) -> Order:
        """What :meth:`to_text` gave."""
        values: dict[str, Any] = json.loads(text)
        values |= {name: Path(values[name]) for name in ("folder", "models")}
        values["settings"] = parse_settings(TaskConfig, values["settings"])
        values["at"] = datetime.fromisoformat(values["at"])
        return cls(**values)


def read_experiment(settings: TaskConfig, task: str) -> tuple[ExperimentConfig, Task]:
    """The user's experiment narrowed to the task and its models.

    Raises
    ------
    ConfigError
        The file cannot be used, has not this task, or no model for it.
    """
    from demur.experiment import load_experiment
    from demur.tasks import load_task

    config = load_experiment(settings.experiment)
    known = {one.name: one for one in (load_task(given) for given in config.tasks)}
    if task not in known:
        raise ConfigError(
            f"the experiment {settings.experiment} has no task '{task}' (it has: {', '.join(known)}); add it"
        )
    models = tuple(spec for spec in config.models if not spec.tasks or task in spec.tasks)
    if not models:
        raise ConfigError(f"the experiment {settings.experiment} has no model for task '{task}'; add one")
    values = {"tasks": (known[task].model_dump(mode="json"),), "models": models, "report": False}
    return config.model_copy(update=values), known[task]


def challenger_experiment(config: ExperimentConfig, files: RetrainFolder) -> ExperimentConfig:
    """The experiment on the gathered rows."""
    from demur.data import DataSource

    extra = (DataSource(path=str(files.extra)),) if files.extra.exists() else ()
    values = {"data": (DataSource(path=str(files.train)),), "extra": extra, "out": str(files.run)}
    return config.model_copy(update=values)
