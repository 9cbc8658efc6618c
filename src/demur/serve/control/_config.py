"""Settings of the controller, and how long records are kept."""

from __future__ import annotations

from pydantic import Field

from demur.config import Settings


class RetentionConfig(Settings):
    """After how many days what is stored is deleted; null keeps it."""

    records_days: float | None = Field(
        default=None, gt=0, description="Days until predictions and feedback are deleted."
    )
    texts_days: float | None = Field(
        default=None, gt=0, description="Days until their texts and notes are deleted, and the rest stays."
    )
    history_days: float | None = Field(
        default=None,
        gt=0,
        description="Days until drift runs, the audit log and the events of ended experiments are deleted.",
    )
    every_s: float = Field(default=3600.0, gt=0, le=86_400, description="Seconds between two deletions.")


class ControlConfig(Settings):
    """The process that watches, compares, retrains and deletes; of all hosts' controllers one acts."""

    interval_s: float = Field(default=5.0, gt=0, le=3600, description="Seconds between two runs of a step.")
    lease_s: float = Field(
        default=15.0,
        ge=0.5,
        le=600,
        description="Seconds after which another controller takes over from one that says nothing.",
    )
    skip: tuple[str, ...] = Field(default=(), description="Steps that are not run; see demur.serve.control.STEPS.")
    retention: RetentionConfig = Field(default=RetentionConfig(), description="How long records are kept.")
