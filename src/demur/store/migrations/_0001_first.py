"""The first tables."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, Float, Text, text
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None


def _text(name: str, *, required: bool = True, key: bool = False) -> Column[str]:
    return Column(name, Text(), nullable=not required, primary_key=key)


def _at(name: str = "at", *, required: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not required)


def _json(name: str, *, required: bool = True) -> Column[object]:
    return Column(name, JSON().with_variant(JSONB(), "postgresql"), nullable=not required)


def upgrade() -> None:
    """Make them."""
    _make_records()
    _make_registry()
    _make_history()
    _make_access()
    _make_monitor()


def _make_records() -> None:
    op.create_table(
        "demur_predictions",
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
        Column("threat_score", Float(53), nullable=False),
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
        Column("latency_ms", Float(53), nullable=False),
        _at(),
    )
    op.create_index("demur_predictions_request", "demur_predictions", ["request_id"])
    op.create_index("demur_predictions_task_at", "demur_predictions", ["task", "at"])
    op.create_index("demur_predictions_at", "demur_predictions", ["at"])
    op.create_index("demur_predictions_experiment_at", "demur_predictions", ["experiment", "at"])
    op.create_table(
        "demur_feedback",
        _text("id", key=True),
        _text("request_id"),
        Column("item", BigInteger, nullable=False),
        _text("task"),
        _text("label"),
        _text("source"),
        _text("key_id", required=False),
        _text("note", required=False),
        _at(),
    )
    op.create_index("demur_feedback_request", "demur_feedback", ["request_id"])
    op.create_index("demur_feedback_task_at", "demur_feedback", ["task", "at"])
    op.create_index("demur_feedback_at", "demur_feedback", ["at"])
    op.create_table(
        "demur_deletions",
        _text("request_id", key=True),
        _at(),
    )
    op.create_index("demur_deletions_at", "demur_deletions", ["at"])


def _make_registry() -> None:
    op.create_table(
        "demur_models",
        _text("task", key=True),
        _text("version", key=True),
        _text("name"),
        _text("folder"),
        _text("stage"),
        _json("metrics"),
        _text("parent", required=False),
        _at(),
    )
    op.create_index(
        "demur_models_champion",
        "demur_models",
        ["task"],
        unique=True,
        sqlite_where=text("stage = 'champion'"),
        postgresql_where=text("stage = 'champion'"),
    )
    op.create_table(
        "demur_experiments",
        _text("id", key=True),
        _text("name"),
        _text("task"),
        _text("stage"),
        _json("config"),
        _json("state"),
        _at(),
        _at("ended_at", required=False),
    )
    op.create_index("demur_experiments_task_at", "demur_experiments", ["task", "at"])
    op.create_table(
        "demur_experiment_events",
        _text("id", key=True),
        _text("experiment"),
        _text("kind"),
        _json("facts"),
        _at(),
    )
    op.create_index("demur_experiment_events_experiment_at", "demur_experiment_events", ["experiment", "at"])


def _make_history() -> None:
    op.create_table(
        "demur_drift_runs",
        _text("id", key=True),
        _text("task"),
        _at(),
        _json("window"),
        _json("tests"),
        Column("is_drift", Boolean, nullable=False),
        _json("facts"),
    )
    op.create_index("demur_drift_runs_task_at", "demur_drift_runs", ["task", "at"])
    op.create_table(
        "demur_retrains",
        _text("id", key=True),
        _text("task"),
        _text("stage"),
        _json("facts"),
        _at(),
        _at("ended_at", required=False),
    )
    op.create_index("demur_retrains_task_at", "demur_retrains", ["task", "at"])
    op.create_table(
        "demur_audit",
        _text("id", key=True),
        _text("actor"),
        _text("act"),
        _text("target"),
        _json("facts"),
        _at(),
    )
    op.create_index("demur_audit_at", "demur_audit", ["at"])


def _make_access() -> None:
    op.create_table(
        "demur_keys",
        _text("id", key=True),
        _text("name"),
        _text("hash"),
        _json("scopes"),
        Column("rate_per_s", Float(53), nullable=True),
        _at(),
        _at("revoked_at", required=False),
    )
    op.create_table(
        "demur_leases",
        _text("name", key=True),
        _text("holder"),
        _at("expires_at"),
        Column("token", BigInteger, nullable=False),
    )


def _make_monitor() -> None:
    op.create_table(
        "demur_input_samples",
        _text("id", key=True),
        _text("request_id"),
        Column("item", BigInteger, nullable=False),
        _text("sketch"),
        _text("prompt", required=False),
        _text("response", required=False),
        _text("language", required=False),
        _at(),
    )
    op.create_index("demur_input_samples_request", "demur_input_samples", ["request_id"])
    op.create_index("demur_input_samples_at", "demur_input_samples", ["at"])
    op.create_table(
        "demur_traffic",
        _text("id", key=True),
        _text("worker"),
        Column("seconds", Float(53), nullable=False),
        Column("requests", BigInteger, nullable=False),
        Column("errors", BigInteger, nullable=False),
        _at(),
    )
    op.create_index("demur_traffic_at", "demur_traffic", ["at"])
    op.create_table(
        "demur_references",
        _text("id", key=True),
        _text("task"),
        _text("version"),
        _text("source"),
        Column("rows", BigInteger, nullable=False),
        _text("payload"),
        _json("facts"),
        _at(),
    )
    op.create_index("demur_references_task_at", "demur_references", ["task", "at"])
    op.create_table(
        "demur_monitor_states",
        _text("name", key=True),
        _json("state"),
        _at(),
    )
