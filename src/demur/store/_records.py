"""Predictions and feedback in the store: added any number of times, stored once; found again by time and kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, select, text

from demur.store._base import Base, as_values, between
from demur.store._rows import FeedbackRow, LabelledRow, PredictionRow
from demur.store._tables import DELETIONS, FEEDBACK, PREDICTIONS

DELETION_LOCK = 0x64656D7572  # "demur"
_IN_CHUNK = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionFilter:
    """Which predictions are wanted; what is None does not matter."""

    request_id: str | None = None
    version: str | None = None
    arm: str | None = None
    key_id: str | None = None
    is_shadow: bool | None = None
    is_flagged: bool | None = None
    is_unsure: bool | None = None
    is_newest_first: bool = False
    """Order by time downwards, so that a limit keeps the newest."""


class Records(Base):
    """The part of the store that keeps what was answered and what was said of it."""

    def add_predictions(self, rows: Sequence[PredictionRow]) -> int:
        """Store predictions, all or none; the number that were new.

        A row whose id is there already, or whose request was deleted, is left out.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; give the rows again later.
        BadRowError
            A row fits no table; none was stored.
        """
        return self._add_records(PREDICTIONS, rows)

    def add_feedback(self, rows: Sequence[FeedbackRow]) -> int:
        """Store feedback, as :meth:`add_predictions` stores predictions.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; give the rows again later.
        BadRowError
            A row fits no table; none was stored.
        """
        return self._add_records(FEEDBACK, rows)

    def _add_records(self, table: Any, rows: Sequence[Any]) -> int:
        if not rows:
            return 0
        with self._write() as connection:
            if not self.is_sqlite:  # a deletion of now either sees these rows or is seen by them
                connection.execute(text(f"SELECT pg_advisory_xact_lock_shared({DELETION_LOCK})"))
            gone = _deleted(connection, sorted({row.request_id for row in rows}))
            kept = [as_values(row) for row in rows if row.request_id not in gone]
            return self._insert(connection, table, kept)

    def predictions(
        self,
        task: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        experiment: str | None = None,
        where: PredictionFilter | None = None,
    ) -> list[PredictionRow]:
        """The predictions from ``since`` on and before ``until``, in order of time."""
        query = between(select(PREDICTIONS), PREDICTIONS, since, until)
        return self._rows(PredictionRow, _narrow(query, task, experiment, where).limit(limit))

    def labelled(
        self,
        task: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        experiment: str | None = None,
        where: PredictionFilter | None = None,
    ) -> list[LabelledRow]:
        """Predictions with feedback, by the time of the *feedback*; one row for each pair of the two.

        An item that several models judged, or of which several people spoke, is there several times.
        """
        is_same = and_(*(FEEDBACK.c[name] == PREDICTIONS.c[name] for name in ("request_id", "item", "task")))
        query = select(PREDICTIONS, FEEDBACK).join_from(PREDICTIONS, FEEDBACK, is_same)
        query = _narrow(between(query, FEEDBACK, since, until), task, experiment, where, by=FEEDBACK)
        with self._read() as connection:
            found = connection.execute(query.limit(limit)).all()
        width = len(PREDICTIONS.c)
        return [
            LabelledRow(
                prediction=PredictionRow(**dict(zip(PREDICTIONS.c.keys(), row[:width], strict=True))),
                feedback=FeedbackRow(**dict(zip(FEEDBACK.c.keys(), row[width:], strict=True))),
            )
            for row in found
        ]

    def feedback(
        self,
        task: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        request_id: str | None = None,
    ) -> list[FeedbackRow]:
        """The feedback from ``since`` on and before ``until``, in order of time."""
        query = between(select(FEEDBACK), FEEDBACK, since, until)
        for column, value in ((FEEDBACK.c.task, task), (FEEDBACK.c.request_id, request_id)):
            query = query if value is None else query.where(column == value)
        return self._rows(FeedbackRow, query.order_by(FEEDBACK.c.at, FEEDBACK.c.id).limit(limit))


def _deleted(connection: Connection, request_ids: list[str]) -> set[str]:
    """Those of the requests that were deleted."""
    found: set[str] = set()
    for first in range(0, len(request_ids), _IN_CHUNK):
        some = DELETIONS.c.request_id.in_(request_ids[first : first + _IN_CHUNK])
        found.update(connection.scalars(select(DELETIONS.c.request_id).where(some)))
    return found


def _narrow(
    query: Select[Any],
    task: str | None,
    experiment: str | None,
    where: PredictionFilter | None,
    by: Any = PREDICTIONS,
) -> Select[Any]:
    """Keep what is wanted, in the order of ``by``."""
    where = where or PredictionFilter()
    wanted = {"task": task, "experiment": experiment} | {
        name: getattr(where, name)
        for name in ("request_id", "version", "arm", "key_id", "is_shadow", "is_flagged", "is_unsure")
    }
    for name, value in wanted.items():
        if value is not None:
            query = query.where(PREDICTIONS.c[name] == value)
    order = (by.c.at, by.c.id, PREDICTIONS.c.id)
    return query.order_by(*(one.desc() for one in order) if where.is_newest_first else order)
