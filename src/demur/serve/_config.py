"""The configuration of the guard; each part's own settings lie beside the part."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from demur.config import Settings, merge_values, overlay_environment, parse_settings, read_mapping
from demur.serve.batching import BatchingConfig
from demur.serve.control import ControlConfig
from demur.serve.dashboard import DashboardConfig
from demur.serve.experiments import ExperimentsConfig
from demur.serve.monitor import AlertConfig, MonitorConfig
from demur.serve.retrain import RetrainConfig, resolve_paths
from demur.serve.secrets import SecretSettings, SecretText
from demur.store.spool import SpoolConfig

DATABASE_VARIABLE = "DATABASE_URL"


class LimitsConfig(Settings):
    """What one request, and one key, may ask for."""

    max_body_bytes: int = Field(default=1_048_576, ge=1024, le=2**30, description="Bytes of a request's body.")
    max_items: int = Field(default=128, ge=1, le=100_000, description="Items of a request.")
    max_chars: int = Field(default=32_000, ge=1, le=10_000_000, description="Characters of one text.")
    max_depth: int = Field(default=32, ge=4, le=128, description="Levels of nesting in a body.")
    timeout_s: float = Field(default=10.0, gt=0, le=600, description="Seconds until a request is answered 504.")
    connections: int = Field(
        default=4096, ge=1, le=65_000, description="Connections of a worker; one more is refused with 503."
    )
    rate_per_s: float | None = Field(
        default=None, gt=0, description="Requests a second of a key that has no rate of its own; null: any."
    )
    burst_s: float = Field(
        default=2.0, gt=0, le=3600, description="Seconds' worth of its rate that a key may use at once."
    )

    @property
    def max_entries(self) -> int:
        """Commas between the values of a body: as many as its items can need, and room for what else it says."""
        return 4 * self.max_items + 1000


class KeysConfig(Settings):
    """Who may ask."""

    required: bool = Field(
        default=True, description="Whether classifying and feedback take a key; administration always does."
    )
    refresh_s: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="Seconds after which keys are read again: how long a revoked one lives.",
    )
    stale_s: float = Field(
        default=3600.0, ge=0, description="Seconds that known keys are trusted while the database does not answer."
    )


class DatabaseConfig(Settings):
    """Where records, keys and the registry of models are kept."""

    url: SecretText = Field(
        default=SecretText("sqlite:///demur.db"),
        description=f"sqlite:///FILE or postgresql://...; {DATABASE_VARIABLE} where the file names none.",
    )
    required: bool = Field(
        default=True,
        description="Whether it must answer when the server starts; false: it may start on its spool alone.",
    )
    migrate: bool = Field(
        default=True, description="Whether the server brings the tables to its version when it starts."
    )


class SpoolSettings(SpoolConfig):
    """The files in which records wait for the database."""

    drain_s: float = Field(default=0.5, gt=0, le=60, description="Seconds between two moves into the database.")


class TextConfig(Settings):
    """What of users' texts is kept."""

    log: Literal["full", "hashed", "none"] = Field(
        default="hashed", description="Texts as they are, keyed hashes that tell equal from different, or neither."
    )
    language: bool = Field(default=False, description="Whether each item's language is told and recorded.")


class CorsConfig(Settings):
    """Which web pages may call the server from a browser; none by default."""

    origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/*\s]+$")], ...] = Field(
        default=(), description="Origins such as https://app.example.org."
    )


class MetricsConfig(Settings):
    """What Prometheus reads."""

    public: bool = Field(default=False, description="Whether /metrics is shown without a key of scope admin.")


class AdminConfig(Settings):
    """What administration over HTTP may do."""

    folders: tuple[str, ...] | None = Field(
        default=None, description="Folders below which models may be registered from; null: any on this machine."
    )

    def allows(self, folder: Path) -> bool:
        """Whether models may be registered from a folder, given with every link resolved."""
        return self.folders is None or any(folder.is_relative_to(Path(one).resolve()) for one in self.folders)


class LogConfig(Settings):
    """The log on standard error: JSON, a line an event, never a text of a user."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level shown.")
    access: bool = Field(default=True, description="Whether each request has a line.")


class ServeConfig(Settings):
    """The guard: which models answer, to whom, within which limits, and what is kept."""

    models: tuple[str, ...] = Field(default=(), description="Saved models or run folders, one model a task.")
    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0: all.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0: any free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that answer.")
    threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Threads that judge, a worker; null: the cores shared among workers.",
    )
    runtime: Literal["auto", "native", "onnx"] = Field(
        default="auto", description="What runs models; auto: ONNX Runtime where a model was exported."
    )
    operating_point: str | None = Field(
        default=None,
        description="Point that decides `flagged`, such as fpr_1; null: a model's first, else its label.",
    )
    records: Literal["off", "best_effort", "durable"] = Field(
        default="durable",
        description="Whether answers are recorded, and whether that is certain before one is given.",
    )
    batching: BatchingConfig = Field(default=BatchingConfig(), description="Micro-batches.")
    limits: LimitsConfig = Field(default=LimitsConfig(), description="Limits of requests and keys.")
    keys: KeysConfig = Field(default=KeysConfig(), description="Who may ask.")
    database: DatabaseConfig = Field(default=DatabaseConfig(), description="The database.")
    spool: SpoolSettings = Field(
        default=SpoolSettings.model_validate({}), description="Records that wait for the database."
    )
    text: TextConfig = Field(default=TextConfig(), description="What of users' texts is kept.")
    cors: CorsConfig = Field(default=CorsConfig(), description="Browsers.")
    metrics: MetricsConfig = Field(default=MetricsConfig(), description="Prometheus.")
    admin: AdminConfig = Field(default=AdminConfig(), description="Administration over HTTP.")
    dashboard: DashboardConfig = Field(default=DashboardConfig(), description="The page of figures.")
    log: LogConfig = Field(default=LogConfig(), description="The log.")
    control: ControlConfig = Field(default=ControlConfig(), description="What is done beside answering.")
    experiments: ExperimentsConfig = Field(
        default=ExperimentsConfig(), description="How running experiments are evaluated."
    )
    monitor: MonitorConfig = Field(default=MonitorConfig(), description="Watching whether the world changes.")
    retrain: RetrainConfig = Field(default=RetrainConfig(), description="Training of challengers.")
    alerts: AlertConfig = Field(default=AlertConfig(), description="Where alarms are told.")
    secrets: SecretSettings = Field(default=SecretSettings(), description="Where ${secret:NAME} is looked up.")
    secret: SecretText | None = Field(
        default=None,
        description="What request ids are signed and texts hashed with; null: made once, kept beside the spool.",
    )
    refresh_s: float = Field(
        default=2.0, gt=0, le=600, description="Seconds after which workers see a promoted or swapped model."
    )
    drain_wait_s: float = Field(
        default=1.0, ge=0, le=300, description="Seconds that a stopping server is not ready but still answers."
    )
    drain_s: float = Field(
        default=30.0, gt=0, le=600, description="Seconds that requests under way may take then."
    )

    @field_validator("models", mode="before")
    @classmethod
    def _one_model(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.limits.max_items > self.batching.max_queue:
            raise ValueError(
                f"a request may have {self.limits.max_items} items (limits.max_items) but only "
                f"{self.batching.max_queue} may wait (batching.max_queue); raise the second or lower the first"
            )
        return self

    @property
    def judging_threads(self) -> int:
        """Threads that judge in each worker."""
        if self.threads is not None:
            return self.threads
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.workers)


def load_serve(path: Path | None = None, overrides: dict[str, Any] | None = None) -> ServeConfig:
    """Read a configuration; the environment is laid over the file, and ``overrides`` over both.

    Parameters
    ----------
    path
        A YAML or JSON file; None: defaults alone.
    overrides
        Such as flags of the command.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown or a value is off.
    """
    values = read_mapping(path) if path is not None else {}
    if path is not None:
        _resolve_models(values, path.parent)
        if isinstance(values.get("retrain"), dict):
            values["retrain"] = resolve_paths(values["retrain"], path.parent)
    values = merge_values(overlay_environment(values, ServeConfig), overrides or {})
    database = values.get("database")
    if os.environ.get(DATABASE_VARIABLE) and not (isinstance(database, dict) and "url" in database):
        values = merge_values(values, {"database": {"url": os.environ[DATABASE_VARIABLE]}})
    return parse_settings(ServeConfig, values, where=str(path or "the configuration"))


def _resolve_models(values: dict[str, Any], base: Path) -> None:
    """Folders of models that lie beside the file."""
    listed = values.get("models")
    names = [listed] if isinstance(listed, str) else listed
    if isinstance(names, list):
        beside = [base / name if isinstance(name, str) else None for name in names]
        values["models"] = [
            str(found) if found is not None and found.exists() else name
            for name, found in zip(names, beside, strict=True)
        ]
