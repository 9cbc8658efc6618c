"""What an escalation is and how a sample decides: pure rules over plain values, which the store keeps."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from demur.metrics import exact_interval, exact_lower
from demur.serve.monitor._config import EscalationConfig

Outcome = Literal["agreed", "retrain", "cooling", "inconclusive", "stopped", "superseded"]
"""``agreed``: judged rows contradict the champion no more than may be; ``cooling``: retraining was asked for too
recently; ``inconclusive``: too few rows could be judged; ``superseded``: there is another champion."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class SampledRow:
    """A row that was drawn to be judged."""

    prediction: str
    request_id: str
    item: int
    label: str
    """What the champion said."""
    state: Literal["waiting", "scored", "unscored"] = "waiting"
    judged: str | None = None
    reason: str | None = None
    text_hash: str | None = None
    """Of its texts, within its escalation; None where nothing is known of them."""


@dataclass(frozen=True)
class Escalation:
    """One escalation, from an alarm to its outcome."""

    id: str
    task: str
    version: str
    cause: str
    """Id of the drift run, or ``admin``."""
    judge: str
    """``people``, or the judge's name."""
    since: datetime
    """Rows from then on may be drawn."""
    begun_at: datetime
    level_at: datetime
    level: int = 0
    rows: tuple[SampledRow, ...] = ()
    decided: tuple[Mapping[str, Any], ...] = ()
    """What each level showed."""
    outcome: Outcome | None = None
    ended_at: datetime | None = None
    note: str | None = None
    is_told: bool = False
    """Whether its outcome was told."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        found = asdict(self)
        for name in ("since", "begun_at", "level_at", "ended_at"):
            found[name] = found[name] and found[name].isoformat()
        return found | {"rows": [asdict(row) for row in self.rows], "decided": list(self.decided)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Escalation:
        """Back from plain values."""
        times = {
            name: values[name] and datetime.fromisoformat(values[name])
            for name in ("since", "begun_at", "level_at", "ended_at")
        }
        rows = tuple(SampledRow(**row) for row in values["rows"])
        return cls(**{**values, **times, "rows": rows, "decided": tuple(values["decided"])})

    @property
    def waiting(self) -> list[SampledRow]:
        """Rows without a verdict."""
        return [row for row in self.rows if row.state == "waiting"]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Rows that contradict the champion, rows that were scored, rows that could not be."""
        scored = [row for row in self.rows if row.state == "scored"]
        return (
            sum(row.judged != row.label for row in scored),
            len(scored),
            sum(row.state == "unscored" for row in self.rows),
        )

    def score(self, verdicts: Mapping[str, tuple[str | None, str | None]]) -> Escalation:
        """With the verdicts (label or None, reason) of rows that waited, by prediction."""

        def take(row: SampledRow) -> SampledRow:
            if row.state != "waiting" or row.prediction not in verdicts:
                return row
            label, reason = verdicts[row.prediction]
            return replace(row, state="unscored" if label is None else "scored", judged=label, reason=reason)

        return replace(self, rows=tuple(take(row) for row in self.rows))

    def end(self, outcome: Outcome, now: datetime, note: str | None = None) -> Escalation:
        """With its outcome."""
        return replace(self, outcome=outcome, ended_at=now, note=note or self.note)


def decide_level(escalation: Escalation, config: EscalationConfig, now: datetime) -> Escalation:
    """What a level's sample says, once no row of it waits: the next level, or an outcome.

    The share of scored rows that contradict the champion passes where the exact one-sided lower bound lies above
    ``bound``. Unscored rows are in neither count; if there are too many, nothing is decided. Retraining takes
    every level, the last one too, so if the true share is at most the bound it is asked for wrongly at most as
    often as the last level's confidence leaves, however many levels there are: no correction for several looks.

    Parameters
    ----------
    escalation
        Without waiting rows.
    config
        Levels and bound.
    now
        The time.

    References
    ----------
    Clopper and Pearson, Biometrika 26, 1934 (the bound); Berger, Multiparameter hypothesis testing and acceptance
    sampling, Technometrics 24, 1982, theorem 1 (all of several tests must reject, each at its own level).
    """
    level = config.levels[escalation.level]
    contrary, scored, unscored = escalation.counts
    lower = exact_lower(contrary, scored, level.confidence)
    low, high = exact_interval(contrary, scored)
    is_enough = scored >= config.min_scored * level.rows
    found = {
        "level": escalation.level,
        "rows": len(escalation.rows),
        "contrary": contrary,
        "scored": scored,
        "unscored": unscored,
        "lower": lower,
        "interval": [low, high],
        "confidence": level.confidence,
        "bound": config.bound,
        "is_passed": is_enough and lower > config.bound,
        "at": now.isoformat(),
    }
    decided = replace(escalation, decided=(*escalation.decided, found))
    if not is_enough:
        return decided.end("inconclusive", now, f"{scored} of {level.rows} rows were scored")
    if not found["is_passed"]:
        return decided.end("agreed", now)
    if escalation.level + 1 < len(config.levels):
        return replace(decided, level=escalation.level + 1, level_at=now)
    return decided.end("retrain", now)


def draw_rows(candidates: Sequence[SampledRow], escalation: Escalation, count: int) -> tuple[SampledRow, ...]:
    """``count`` rows more, drawn at random of those not drawn yet; the same for the same escalation and level.

    A text that was drawn at one level is not drawn at another: who repeats it would be judged again and again.
    """
    known = {row.prediction for row in escalation.rows}
    texts = {row.text_hash for row in escalation.rows} - {None}
    fresh = sorted(
        (one for one in candidates if one.prediction not in known and one.text_hash not in texts),
        key=lambda one: one.prediction,
    )
    generator = random.Random(f"{escalation.id}/{escalation.level}/{len(escalation.rows)}")
    return tuple(generator.sample(fresh, min(count, len(fresh))))


def budget_left(spent: Sequence[Sequence[Any]], config: EscalationConfig, now: datetime) -> int:
    """Rows that may still be given to the judge, by what was spent (time, rows) in the last 24 hours."""
    return max(0, config.budget_per_day - sum(int(count) for _, count in recent_spending(spent, now)))


def recent_spending(spent: Sequence[Sequence[Any]], now: datetime) -> list[list[Any]]:
    """The spending of the last 24 hours."""
    return [[at, count] for at, count in spent if datetime.fromisoformat(at) > now - _DAY]
