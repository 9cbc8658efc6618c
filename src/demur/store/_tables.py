"""The tables, named ``demur_...`` so that a database may be shared; columns are named as rows' fields."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, Table, text

from demur.store._types import CleanJson, CleanText, FiniteFloat, Utc

METADATA = MetaData()


def _text(name: str, *, required: bool = True, key: bool = False) -> Column[str]:
    return Column(name, CleanText(), nullable=not required, primary_key=key)


def _at(name: str = "at", *, required: bool = True) -> Column[object]:
    return Column(name, Utc(), nullable=not required)


def _json(name: str, *, required: bool = True) -> Column[object]:
    return Column(name, CleanJson(), nullable=not required)


PREDICTIONS = Table(
    "demur_predictions",
    METADATA,
    _text("id", key=True),
    _text("request_id"),
    Column("item", BigInteger, nullable=False),
    _text("task"),
    _text("model"),
    _text("version"),
    _text("experiment", required=False),
    _text("arm", required=False),
    Column("is_shadow", Boolean, nullable=False),
    _text("label"),
    _json("probabilities"),
    Column("threat_score", FiniteFloat(), nullable=False),
    _json("threshold", required=False),
    Column("is_flagged", Boolean, nullable=True),
    Column("is_unsure", Boolean, nullable=True),
    _text("key_id", required=False),
    _text("subject", required=False),
    _text("prompt", required=False),
    _text("response", required=False),
    _text("prompt_hash", required=False),
    _text("response_hash", required=False),
    Column("prompt_chars", BigInteger, nullable=False),
    Column("response_chars", BigInteger, nullable=False),
    _text("language", required=False),
    Column("latency_ms", FiniteFloat(), nullable=False),
    _at(),
    Index("demur_predictions_request", "request_id"),
    Index("demur_predictions_task_at", "task", "at"),
    Index("demur_predictions_at", "at"),
    Index("demur_predictions_experiment_at", "experiment", "at"),
)
FEEDBACK = Table(
    "demur_feedback",
    METADATA,
    _text("id", key=True),
    _text("request_id"),
    Column("item", BigInteger, nullable=False),
    _text("task"),
    _text("label"),
    _text("source"),
    _text("key_id", required=False),
    _text("note", required=False),
    _at(),
    Index("demur_feedback_request", "request_id"),
    Index("demur_feedback_task_at", "task", "at"),
    Index("demur_feedback_at", "at"),
)
MODELS = Table(
    "demur_models",
    METADATA,
    _text("task", key=True),
    _text("version", key=True),
    _text("name"),
    _text("folder"),
    _text("stage"),
    _json("metrics"),
    _text("parent", required=False),
    _at(),
    # One champion a task, whoever races to make another.
    Index(
        "demur_models_champion",
        "task",
        unique=True,
        sqlite_where=text("stage = 'champion'"),
        postgresql_where=text("stage = 'champion'"),
    ),
)
EXPERIMENTS = Table(
    "demur_experiments",
    METADATA,
    _text("id", key=True),
    _text("name"),
    _text("task"),
    _text("stage"),
    _json("config"),
    _json("state"),
    _at(),
    _at("ended_at", required=False),
    Index("demur_experiments_task_at", "task", "at"),
)
EVENTS = Table(
    "demur_experiment_events",
    METADATA,
    _text("id", key=True),
    _text("experiment"),
    _text("kind"),
    _json("facts"),
    _at(),
    Index("demur_experiment_events_experiment_at", "experiment", "at"),
)
DRIFT_RUNS = Table(
    "demur_drift_runs",
    METADATA,
    _text("id", key=True),
    _text("task"),
    _at(),
    _json("window"),
    _json("tests"),
    Column("is_drift", Boolean, nullable=False),
    _json("facts"),
    Index("demur_drift_runs_task_at", "task", "at"),
)
RETRAINS = Table(
    "demur_retrains",
    METADATA,
    _text("id", key=True),
    _text("task"),
    _text("stage"),
    _json("facts"),
    _at(),
    _at("ended_at", required=False),
    Index("demur_retrains_task_at", "task", "at"),
)
AUDIT = Table(
    "demur_audit",
    METADATA,
    _text("id", key=True),
    _text("actor"),
    _text("act"),
    _text("target"),
    _json("facts"),
    _at(),
    Index("demur_audit_at", "at"),
)
KEYS = Table(
    "demur_keys",
    METADATA,
    _text("id", key=True),
    _text("name"),
    _text("hash"),
    _json("scopes"),
    Column("rate_per_s", FiniteFloat(), nullable=True),
    _at(),
    _at("revoked_at", required=False),
)
LEASES = Table(
    "demur_leases",
    METADATA,
    _text("name", key=True),
    _text("holder"),
    _at("expires_at"),
    Column("token", BigInteger, nullable=False),
)
DELETIONS = Table(
    "demur_deletions",
    METADATA,
    _text("request_id", key=True),
    _at(),
    Index("demur_deletions_at", "at"),
)
"""Requests that were deleted: what of them still waits somewhere is not stored any more."""

INPUT_SAMPLES = Table(
    "demur_input_samples",
    METADATA,
    _text("id", key=True),
    _text("request_id"),
    Column("item", BigInteger, nullable=False),
    _text("sketch"),
    _text("prompt", required=False),
    _text("response", required=False),
    _text("language", required=False),
    _at(),
    Index("demur_input_samples_request", "request_id"),
    Index("demur_input_samples_at", "at"),
)
TRAFFIC = Table(
    "demur_traffic",
    METADATA,
    _text("id", key=True),
    _text("worker"),
    Column("seconds", FiniteFloat(), nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    _at(),
    Index("demur_traffic_at", "at"),
)
REFERENCES = Table(
    "demur_references",
    METADATA,
    _text("id", key=True),
    _text("task"),
    _text("version"),
    _text("source"),
    Column("rows", BigInteger, nullable=False),
    _text("payload"),
    _json("facts"),
    _at(),
    Index("demur_references_task_at", "task", "at"),
)
MONITOR_STATES = Table(
    "demur_monitor_states",
    METADATA,
    _text("name", key=True),
    _json("state"),
    _at(),
)
"""What the monitor goes on with after a restart, a JSON value a name."""

TABLES: dict[str, Table] = {
    "predictions": PREDICTIONS,
    "feedback": FEEDBACK,
    "models": MODELS,
    "experiments": EXPERIMENTS,
    "experiment_events": EVENTS,
    "drift_runs": DRIFT_RUNS,
    "retrains": RETRAINS,
    "audit": AUDIT,
    "keys": KEYS,
    "leases": LEASES,
    "deletions": DELETIONS,
    "input_samples": INPUT_SAMPLES,
    "traffic": TRAFFIC,
    "references": REFERENCES,
    "monitor_states": MONITOR_STATES,
}
"""Name in exports and counts to the table."""
