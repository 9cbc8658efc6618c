"""The rows of the store as frozen dataclasses, named as the columns: what they mean, and nothing of SQL."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

FeedbackSource = Literal["user", "judge", "people"]
ModelStage = Literal["champion", "challenger", "shadow", "retired", "rejected"]
ExperimentStage = Literal["draft", "shadow", "running", "promoted", "rolled_back", "stopped"]


def utc_now() -> datetime:
    """The time now, aware of being UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A new id: 32 hexadecimal digits that no other process makes."""
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionRow:
    """What one model said of one item of a request; ``at`` is UTC."""

    request_id: str
    item: int = 0
    """Number of the item within its request, from 0."""
    task: str
    model: str
    """Name in the registry."""
    version: str
    """Fingerprint of the model."""
    label: str
    probabilities: dict[str, float]
    threat_score: float
    experiment: str | None = None
    arm: str | None = None
    is_shadow: bool = False
    """Whether nobody was told: the answer is kept for comparison only."""
    threshold: dict[str, float] | None = None
    """Operating point to its threshold."""
    is_flagged: bool | None = None
    is_unsure: bool | None = None
    key_id: str | None = None
    subject: str | None = None
    """Hash of the caller's sticky key."""
    prompt: str | None = None
    response: str | None = None
    prompt_hash: str | None = None
    response_hash: str | None = None
    prompt_chars: int = 0
    response_chars: int = 0
    language: str | None = None
    latency_ms: float = 0.0
    at: datetime = field(default_factory=utc_now)
    id: str = ""
    """Unique; default ``request/item/task/arm``. A row whose id is in the store is not stored again."""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", f"{self.request_id}/{self.item}/{self.task}/{self.arm or ''}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedbackRow:
    """What somebody holds true of an item that was answered earlier."""

    request_id: str
    item: int = 0
    task: str
    label: str
    source: FeedbackSource = "user"
    key_id: str | None = None
    note: str | None = None
    at: datetime = field(default_factory=utc_now)
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRow:
    """A prediction and a label that was given for it."""

    prediction: PredictionRow
    feedback: FeedbackRow


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """A model of the registry; task and version are its key."""

    task: str
    name: str
    version: str
    folder: str
    stage: ModelStage
    metrics: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    """Version of the model it was made to replace."""
    at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentRow:
    """A comparison of models on live requests."""

    name: str
    task: str
    stage: ExperimentStage = "draft"
    config: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=utc_now)
    ended_at: datetime | None = None
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentEvent:
    """One line of an experiment's history, which is only ever added to."""

    experiment: str
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=utc_now)
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftRunRow:
    """One look at whether the world has changed."""

    task: str
    window: dict[str, Any]
    tests: list[dict[str, Any]]
    """Each with name, statistic, p_value, p_adjusted, effect, is_drift."""
    is_drift: bool
    facts: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=utc_now)
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainRow:
    """One attempt to train a better model, and how far it came."""

    task: str
    stage: str
    facts: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=utc_now)
    ended_at: datetime | None = None
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRow:
    """One act of an administrator or of the system itself."""

    actor: str
    """Id of a key, or ``system``."""
    act: str
    target: str
    facts: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=utc_now)
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRow:
    """A key of the API; only its hash is kept. The id is the readable part in the middle of the key itself."""

    id: str
    name: str
    hash: str
    scopes: list[str]
    """Of ``classify``, ``feedback``, ``admin``."""
    rate_per_s: float | None = None
    at: datetime = field(default_factory=utc_now)
    revoked_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSampleRow:
    """Some numbers of the texts of one item, taken of a sample of items to see whether inputs change; no text."""

    request_id: str
    item: int = 0
    sketch: str
    """How the numbers were made; only those of one way can be compared."""
    prompt: str | None = None
    """Packed numbers of the prompt, if there was one."""
    response: str | None = None
    language: str | None = None
    at: datetime = field(default_factory=utc_now)
    """When the item was answered."""
    id: str = ""
    """Unique; default ``request/item``."""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", f"{self.request_id}/{self.item}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrafficRow:
    """How many requests one worker took in a short time up to ``at``, and how many of them it failed."""

    worker: str
    seconds: float
    requests: int
    errors: int
    at: datetime = field(default_factory=utc_now)
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceRow:
    """What a task's traffic is compared with, for one version of its model."""

    task: str
    version: str
    source: str
    """``model`` (its validation rows), ``live`` (its first live ones), ``admin`` (chosen by one)."""
    rows: int
    payload: str = ""
    """A Parquet file in base64; empty in lists."""
    facts: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=utc_now)
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to act alone under a name until it expires."""

    name: str
    holder: str
    expires_at: datetime
    token: int
    """Rises by one with every change of holder, never with a renewal."""
