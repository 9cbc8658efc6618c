"""The stretches of time that the page can show, and the steps they are cut into."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

SpanName = Literal["hour", "day", "week"]
Steps = list[tuple[datetime, datetime]]


@dataclass(frozen=True)
class Span:
    """A stretch of time up to now."""

    name: SpanName
    title: str
    step: timedelta
    count: int
    step_words: str
    clock: str
    """How the beginning of a step is written."""

    def steps(self, now: datetime) -> Steps:
        """The steps, the last one holding ``now``; they begin at whole multiples of their length."""
        length = self.step.total_seconds()
        last = datetime.fromtimestamp(now.timestamp() // length * length, UTC)
        starts = [last - self.step * (self.count - 1 - number) for number in range(self.count)]
        return [(start, start + self.step) for start in starts]


SPANS: dict[SpanName, Span] = {
    "hour": Span("hour", "Last hour", timedelta(minutes=1), 60, "minute", "%H:%M"),
    "day": Span("day", "Last 24 hours", timedelta(minutes=15), 96, "15 minutes", "%H:%M"),
    "week": Span("week", "Last 7 days", timedelta(hours=2), 84, "2 hours", "%a %H:%M"),
}
REFRESH_S = (30, 60, 300)
