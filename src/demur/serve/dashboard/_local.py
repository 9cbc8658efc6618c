"""What a worker knows without the database: its models, what waits, and what the machine's workers counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demur import __version__
from demur.errors import DemurError, require

if TYPE_CHECKING:
    from demur.serve.api import Parts
    from demur.store import SpoolStats

_ANSWERING = ("/v1/classify", "/v1/moderations", "/classify")


@dataclass(frozen=True)
class LoadedModel:
    """A model in this worker's memory."""

    name: str
    version: str
    tasks: Sequence[str]
    """Those that it is the champion of; none where it is an arm of an experiment."""
    runtime: str
    waiting: int


@dataclass(frozen=True)
class Counted:
    """What the workers of this machine counted since the server started."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    """Answered 4xx."""
    mean_ms: float | None = None
    lost: int = 0
    """Rows that are recorded nowhere."""


@dataclass(frozen=True)
class LocalFacts:
    """What is known here."""

    version: str
    status: str
    """``ready``, ``warming`` or ``draining``."""
    models: Sequence[LoadedModel]
    problems: Mapping[str, str]
    """Version to why it could not be loaded."""
    spool: SpoolStats | None
    """None where nothing is recorded, or the spool cannot be read."""
    counted: Counted
    database: str
    records: str
    texts: str
    is_monitored: bool


def look_around(parts: Parts) -> LocalFacts:
    """Gather what is known here; reads a few small files, so call it in a thread."""
    state = parts.pool.state
    status = "draining" if parts.is_draining else "ready" if parts.warm.is_set() else "warming"
    models = [
        LoadedModel(
            model.name,
            version,
            [task for task, champion in state.champions.items() if champion.version == version],
            model.runtime,
            model.waiting,
        )
        for version, model in state.models.items()
    ]
    return LocalFacts(
        version=__version__,
        status=status,
        models=models,
        problems=dict(parts.pool.problems),
        spool=_look_at_spool(parts),
        counted=count(parts.metrics.show().decode()),
        database=parts.store.url,
        records=parts.config.records,
        texts=parts.config.text.log,
        is_monitored=parts.config.monitor.enabled and parts.config.records != "off",
    )


def _look_at_spool(parts: Parts) -> SpoolStats | None:
    try:
        return parts.spool.stats()
    except (DemurError, OSError):
        return None


def count(figures: str) -> Counted:
    """Sums of requests from figures in Prometheus' text format."""
    parser: Any = require("prometheus_client.parser", extra="serve")
    statuses: dict[str, float] = {}
    seconds = answers = lost = 0.0
    for family in parser.text_string_to_metric_families(figures):
        for sample in family.samples:
            is_ours = sample.labels.get("route") in _ANSWERING
            if sample.name == "demur_requests_total" and is_ours:
                status = sample.labels["status"][:1]
                statuses[status] = statuses.get(status, 0.0) + sample.value
            elif sample.name == "demur_request_seconds_sum" and is_ours:
                seconds += sample.value
            elif sample.name == "demur_request_seconds_count" and is_ours:
                answers += sample.value
            elif sample.name == "demur_records_total" and sample.labels.get("result") == "lost":
                lost += sample.value
    return Counted(
        requests=int(sum(statuses.values())),
        errors=int(statuses.get("5", 0)),
        refused=int(statuses.get("4", 0)),
        mean_ms=1000 * seconds / answers if answers else None,
        lost=int(lost),
    )
