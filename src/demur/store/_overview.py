"""What happened lately, in bounded time however many rows there are: counts, labels, quantiles by steps of time.

A step is looked at through an index and through its newest rows alone. Up to so many rows everything is exact;
beyond, counts are still exact, shares and quantiles are of the newest rows of each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Float,
    Select,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)

from demur.store._base import Base, between
from demur.store._rows import PredictionRow
from demur.store._tables import FEEDBACK, PREDICTIONS, TRAFFIC
from demur.store._types import Utc

PERCENTS = (50, 95, 99)
Span = tuple[datetime, datetime]
"""From the first time on and before the second."""


@dataclass(frozen=True, slots=True)
class StepSummary:
    """What the answers of one task in one step of time were."""

    rows: int = 0
    """All rows, those of shadows too."""
    sampled: int = 0
    """Rows that the rest is of, the newest; shadows among them are left out of it."""
    labels: Mapping[str, int] = field(default_factory=dict)
    flagged: int = 0
    unsure: int = 0
    latency_ms: Mapping[int, float] = field(default_factory=dict)
    """Percent to the time that so many percent of answers took at most (nearest rank)."""

    @property
    def answers(self) -> int:
        """Sampled rows that were told to somebody."""
        return sum(self.labels.values())

    @property
    def weight(self) -> float:
        """Rows that each sampled one stands for."""
        return self.rows / self.sampled if self.sampled else 0.0


@dataclass(frozen=True, slots=True)
class TrafficSummary:
    """Requests of one step of time, of all workers."""

    requests: int = 0
    errors: int = 0


class Overview(Base):
    """The part of the store that shows what happened lately."""

    def summarise(self, task: str, steps: Sequence[Span], most: int = 500) -> list[StepSummary]:
        """What the answers of a task were, step by step.

        Parameters
        ----------
        most
            Rows of a step that labels, flags and times are taken of.

        Raises
        ------
        StoreUnavailableError
            The database does not answer.
        """
        with self._read() as connection:
            return [_summarise(connection, task, span, most) for span in steps]

    def summarise_traffic(self, steps: Sequence[Span]) -> list[TrafficSummary]:
        """Requests and those that failed, step by step, as the workers counted them.

        Raises
        ------
        StoreUnavailableError
            The database does not answer.
        """
        with self._read() as connection:
            found = [
                connection.execute(_TRAFFIC, {"since": since, "until": until}).one() for since, until in steps
            ]
        return [TrafficSummary(int(requests or 0), int(errors or 0)) for requests, errors in found]

    def count_feedback(self, since: datetime, until: datetime | None = None) -> int:
        """How many labels were given from ``since`` on and before ``until``."""
        query = between(select(func.count()).select_from(FEEDBACK), FEEDBACK, since, until)
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())

    def newest_flagged(
        self, since: datetime, limit: int = 20, *, scan: int = 5000, excerpt: int = 0
    ) -> list[PredictionRow]:
        """The newest answers that were flagged, the newest first.

        Parameters
        ----------
        scan
            Rows that are looked through, the newest: where flags are rare, older ones are not found.
        excerpt
            Characters of prompt and response that are read; 0: no text leaves the database.

        Raises
        ------
        StoreUnavailableError
            The database does not answer.
        """
        rows = PREDICTIONS.c
        newest = (
            select(rows.id, rows.is_flagged, rows.is_shadow)
            .where(rows.at >= since)
            .order_by(rows.at.desc())
            .limit(scan)
            .subquery()
        )
        columns = [column for column in rows if column.name not in ("prompt", "response")]
        texts = [
            (func.substr(column, 1, excerpt) if excerpt else cast(null(), Text)).label(column.name)
            for column in (rows.prompt, rows.response)
        ]
        query: Select[Any] = (
            select(*columns, *texts)
            .join(newest, newest.c.id == rows.id)
            .where(newest.c.is_flagged.is_(True), newest.c.is_shadow.is_(False))
        )
        return self._rows(PredictionRow, query.order_by(rows.at.desc(), rows.id).limit(limit))


_SPAN = {name: bindparam(name, type_=Utc()) for name in ("since", "until")}
_TRAFFIC = select(
    cast(func.sum(TRAFFIC.c.requests), BigInteger), cast(func.sum(TRAFFIC.c.errors), BigInteger)
).where(TRAFFIC.c.at >= _SPAN["since"], TRAFFIC.c.at < _SPAN["until"])
_IN_STEP = (
    PREDICTIONS.c.task == bindparam("task", type_=Text()),
    PREDICTIONS.c.at >= _SPAN["since"],
    PREDICTIONS.c.at < _SPAN["until"],
)
_COUNT = select(func.count()).select_from(PREDICTIONS).where(*_IN_STEP)


def _make_summary() -> Any:
    """Labels of the newest rows of a step with their counts, and the times at the wanted ranks."""
    rows = PREDICTIONS.c
    newest = (
        select(rows.label, rows.is_shadow, rows.is_flagged, rows.is_unsure, rows.latency_ms)
        .where(*_IN_STEP)
        .order_by(rows.at.desc())
        .limit(bindparam("most", type_=BigInteger()))
        .cte("newest")
    )
    flagged, unsure = (
        cast(func.sum(case((column.is_(True), 1), else_=0)), BigInteger)
        for column in (newest.c.is_flagged, newest.c.is_unsure)
    )
    labels = select(
        newest.c.label, newest.c.is_shadow, func.count(), flagged, unsure, cast(literal(0.0), Float(53))
    ).group_by(newest.c.label, newest.c.is_shadow)
    ranked = (
        select(
            newest.c.latency_ms,
            func.row_number().over(order_by=newest.c.latency_ms).label("place"),
            func.count().over().label("n"),
        )
        .where(newest.c.is_shadow.is_(False))
        .subquery()
    )
    times = select(
        cast(null(), Text),
        cast(null(), Boolean),
        ranked.c.place,
        cast(ranked.c.n, BigInteger),
        cast(literal(0), BigInteger),
        ranked.c.latency_ms,
    ).where(ranked.c.place.in_([(ranked.c.n * percent + 99) // 100 for percent in PERCENTS]))
    return union_all(labels, times)


_SUMMARY = _make_summary()


def _summarise(connection: Connection, task: str, span: Span, most: int) -> StepSummary:
    given = {"task": task, "since": span[0], "until": span[1]}
    labels: dict[str, int] = {}
    places: dict[int, float] = {}
    sampled = flagged = unsure = 0
    for label, is_shadow, count, first, second, ms in connection.execute(_SUMMARY, {**given, "most": most}):
        if label is None:
            places[count] = ms
            continue
        sampled += count
        if not is_shadow:
            labels[label] = count
            flagged, unsure = flagged + first, unsure + second
    rows = sampled if sampled < most else int(connection.execute(_COUNT, given).scalar_one())
    answers = sum(labels.values())
    ranks = {percent: -(-answers * percent // 100) for percent in PERCENTS} if answers else {}
    latency_ms = {percent: places[rank] for percent, rank in ranks.items()}
    return StepSummary(rows, sampled, labels, flagged, unsure, latency_ms)
