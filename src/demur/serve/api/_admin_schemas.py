"""Bodies and answers of ``/admin/*``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from demur.serve._identity import ANSWER_ID
from demur.serve.api._schemas import Body, Number

Stage = Literal["champion", "challenger", "shadow", "retired", "rejected"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
AnswerId = Annotated[str, StringConstraints(pattern=ANSWER_ID)]
Word = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
"""Who acts, and what an act is called."""
Version = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ModelEntry(BaseModel):
    """A model of the registry."""

    task: str
    name: str
    version: str
    folder: str
    stage: str
    metrics: dict[str, Any]
    parent: str | None
    at: datetime
    is_loaded: bool = Field(description="In the worker that answers.")
    problem: str | None = Field(description="Why it could not be loaded.")


class ModelEntries(BaseModel):
    """Models of the registry, the oldest first."""

    models: list[ModelEntry]


class NewModel(Body):
    """A model on the server's disk."""

    folder: Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")] = Field(
        description="Folder of a saved model, or of a run, on the server.",
        examples=["runs/new/models/refusal/best"],
    )
    stage: Literal["challenger", "shadow"] = Field(default="challenger", description="Where it begins.")


class NewStage(Body):
    """Where a model shall stand."""

    stage: Stage = Field(description="champion: it answers from now on, and the champion before it retires.")


class KeyEntry(BaseModel):
    """A key; its text is known only to whoever made it."""

    id: str
    name: str
    scopes: list[str]
    rate_per_s: float | None
    at: datetime
    revoked_at: datetime | None


class KeyEntries(BaseModel):
    """Keys, the oldest first."""

    keys: list[KeyEntry]


class NewKey(Body):
    """A key to make."""

    name: Name = Field(description="What it is for.", examples=["checkout service"])
    scopes: Annotated[list[Literal["classify", "feedback", "admin"]], Field(min_length=1, max_length=3)]
    rate_per_s: Annotated[float, Number, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = Field(
        default=None, description="Requests a second; null: as the configuration says."
    )


class MadeKey(KeyEntry):
    """A key that was made; its text is shown this once."""

    key: str


class AuditEntry(BaseModel):
    """One act."""

    id: str
    actor: str
    act: str
    target: str
    facts: dict[str, Any]
    at: datetime


class AuditEntries(BaseModel):
    """Acts, the newest first."""

    acts: list[AuditEntry]


class Deleted(BaseModel):
    """What was deleted."""

    rows: int


class Reloaded(BaseModel):
    """What the worker that answers sees now."""

    versions: dict[str, str] = Field(description="Task to the version that answers it.")
    problems: dict[str, str] = Field(description="Version to why it could not be loaded.")
