"""What is new in the store for an experiment, in order of time, each row once.

A cursor is the time that was read to and the ids that were read of that very moment, so neither the order in which
a database sorts ids nor where a page ends matters. Rows younger than the lag are left for later, since workers
hand theirs in with some delay; what comes later than that is in the store, but in no test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from demur.store import ExperimentEvent, LabelledRow, PredictionRow, Store

R = TypeVar("R")


@dataclass
class Cursor:
    """How far a stream was read."""

    at: datetime
    ids: list[str] = field(default_factory=list)
    """What was read of this moment."""

    def is_new(self, at: datetime, id: str) -> bool:
        """Whether something lies behind the cursor."""
        return at > self.at or (at == self.at and id not in self.ids)

    def pass_by(self, at: datetime, id: str) -> None:
        """Move on to what was read now."""
        if at > self.at:
            self.at, self.ids = at, []
        self.ids.append(id)

    def to_json(self) -> list[Any]:
        """As plain values."""
        return [self.at.isoformat(), list(self.ids)]

    @classmethod
    def from_json(cls, state: Sequence[Any]) -> Cursor:
        """The cursor that :meth:`to_json` wrote."""
        return cls(datetime.fromisoformat(state[0]), [str(one) for one in state[1]])


@dataclass
class Pages(Generic[R]):
    """A stream read page by page.

    Parameters
    ----------
    read
        Gives rows from a time on, so many at most, in order of time.
    place
        Time and id of a row.
    cursor
        Where to begin; moved on with every row given.
    page_rows
        Rows of a page.
    """

    read: Callable[[datetime, int], Sequence[R]]
    place: Callable[[R], tuple[datetime, str]]
    cursor: Cursor
    page_rows: int

    def __iter__(self) -> Iterator[R]:
        limit = self.page_rows
        while True:
            rows = self.read(self.cursor.at, limit)
            fresh = [row for row in rows if self.cursor.is_new(*self.place(row))]
            for row in fresh:
                self.cursor.pass_by(*self.place(row))
                yield row
            if len(rows) < limit:
                return
            if not fresh:  # more rows of one moment than a page holds
                limit *= 2


def read_predictions(
    store: Store, experiment: str, cursor: Cursor, until: datetime, page_rows: int
) -> Pages[PredictionRow]:
    """The experiment's answers behind the cursor and before ``until``."""
    return Pages(
        lambda since, limit: store.predictions(since=since, until=until, limit=limit, experiment=experiment),
        lambda row: (row.at, row.id),
        cursor,
        page_rows,
    )


def read_labelled(
    store: Store, experiment: str, cursor: Cursor, until: datetime, page_rows: int
) -> Pages[LabelledRow]:
    """The experiment's answers with feedback that was given behind the cursor and before ``until``."""
    return Pages(
        lambda since, limit: store.labelled(since=since, until=until, limit=limit, experiment=experiment),
        lambda row: (row.feedback.at, f"{row.feedback.id} {row.prediction.id}"),
        cursor,
        page_rows,
    )


def read_failures(store: Store, experiment: str, cursor: Cursor, until: datetime) -> list[ExperimentEvent]:
    """Reports of requests that an arm could not answer, behind the cursor and before ``until``."""
    events = store.events(experiment, kind="failures")
    return [one for one in events if one.at < until and cursor.is_new(one.at, one.id)]
