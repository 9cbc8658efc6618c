"""The registry, retrainings and flagged answers as lines of tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from demur.serve.dashboard._words import MISSING, ago, milliseconds, plain, when

if TYPE_CHECKING:
    from demur.serve.dashboard._gather import Snapshot
    from demur.serve.dashboard._local import LocalFacts
    from demur.store import PredictionRow, RetrainRow

_GOOD, _BAD = ("promoted",), ("failed", "rejected", "rolled_back")
_SCORES = ("security_score", "custom_score", "f1_macro", "accuracy")


@dataclass(frozen=True)
class ModelLine:
    """A model of the registry."""

    task: str
    name: str
    version: str
    stage: str
    is_champion: bool
    where: str
    problem: str | None
    score: str
    parent: str
    since: str


@dataclass(frozen=True)
class RetrainLine:
    """A retraining."""

    task: str
    stage: str
    mood: str
    cause: str
    asked: str
    took: str
    challenger: str
    reason: str


@dataclass(frozen=True)
class FlaggedLine:
    """A flagged answer."""

    at: datetime
    when: str
    task: str
    label: str
    score: str
    model: str
    request: str
    about: str
    texts: tuple[tuple[str, str], ...]
    """What is shown of prompt and response, each with its name; none unless texts are logged."""


def view_models(found: Snapshot, local: LocalFacts) -> list[ModelLine]:
    """The registry, champions first; with what this worker knows of each."""
    loaded = {one.version: one for one in local.models}
    lines = []
    for row in found.models:
        here = loaded.get(row.version)
        where = MISSING if here is None else f"loaded, {here.runtime}"
        lines.append(
            ModelLine(
                task=row.task,
                name=row.name,
                version=row.version[:12],
                stage=row.stage,
                is_champion=row.stage == "champion",
                where=where,
                problem=local.problems.get(row.version),
                score=_score(row.metrics),
                parent=(row.parent or MISSING)[:12],
                since=when(row.at),
            )
        )
    return lines


def view_retrains(found: Snapshot) -> list[RetrainLine]:
    """Retrainings, the newest first."""
    return [_retrain(row, found.at) for row in found.retrains]


def view_flagged(found: Snapshot, excerpt: int) -> list[FlaggedLine]:
    """Flagged answers, the newest first."""
    return [_flagged(row, excerpt) for row in found.flagged]


def _score(metrics: Mapping[str, object]) -> str:
    """The first known figure of a model's metrics."""
    for name in _SCORES:
        value = metrics.get(name)
        if isinstance(value, int | float):
            return f"{value:.3f} ({plain(name)})"
    return MISSING


def _retrain(row: RetrainRow, now: datetime) -> RetrainLine:
    mood = (
        "good" if row.stage in _GOOD else "bad" if row.stage in _BAD else "watch" if row.ended_at is None else ""
    )
    took = ago((row.ended_at or now) - row.at)
    return RetrainLine(
        task=row.task,
        stage=row.stage,
        mood=mood,
        cause=str(row.facts.get("cause") or MISSING),
        asked=when(row.at),
        took=took if row.ended_at is not None else f"{took} so far",
        challenger=str(row.facts.get("challenger") or MISSING)[:12],
        reason=str(row.facts.get("reason") or row.facts.get("waits_for") or MISSING),
    )


def _flagged(row: PredictionRow, excerpt: int) -> FlaggedLine:
    about = [f"prompt of {row.prompt_chars} characters"] if row.prompt_chars else []
    about += [f"response of {row.response_chars}"] if row.response_chars else []
    about += [row.language] if row.language else []
    given = (("Prompt", row.prompt), ("Response", row.response))
    return FlaggedLine(
        at=row.at,
        when=f"{row.at:%H:%M:%S}, {row.at.day} {row.at:%b}",
        task=row.task,
        label=row.label,
        score=f"score {row.threat_score:.2f}",
        model=f"{row.model} {row.version[:8]}",
        request=row.request_id,
        about=", ".join([*about, milliseconds(row.latency_ms)]),
        texts=tuple((name, _cut(text, excerpt)) for name, text in given if text),
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
