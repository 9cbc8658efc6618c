"""What the monitor keeps in the store: samples of inputs, traffic, references, and what it goes on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, literal, select, text
from sqlalchemy.dialects import postgresql, sqlite

from demur.errors import UnknownRowError
from demur.store._base import as_values, between
from demur.store._records import Records
from demur.store._rows import InputSampleRow, ReferenceRow, TrafficRow, utc_now
from demur.store._tables import INPUT_SAMPLES, MONITOR_STATES, PREDICTIONS, REFERENCES, TRAFFIC
from demur.store._types import clean_text

State = dict[str, Any]
_LISTED = [column for column in REFERENCES.c if column.name != "payload"]


class Monitoring(Records):
    """The part of the store that the monitor works with."""

    def add_input_samples(self, rows: Sequence[InputSampleRow]) -> int:
        """Store samples of inputs, as :meth:`add_predictions` stores predictions; the number that were new.

        Raises
        ------
        StoreUnavailableError
            The database does not answer.
        BadRowError
            A row fits no table; none was stored.
        """
        return self._add_records(INPUT_SAMPLES, rows)

    def input_samples(
        self, since: datetime | None = None, until: datetime | None = None, limit: int | None = None
    ) -> list[InputSampleRow]:
        """The samples of inputs from ``since`` on and before ``until``, in order of time."""
        query = between(select(INPUT_SAMPLES), INPUT_SAMPLES, since, until)
        return self._rows(InputSampleRow, query.order_by(INPUT_SAMPLES.c.at, INPUT_SAMPLES.c.id).limit(limit))

    def add_traffic(self, rows: Sequence[TrafficRow]) -> None:
        """Store counts of requests.

        Raises
        ------
        StoreUnavailableError
            The database does not answer.
        """
        with self._write() as connection:
            self._insert(connection, TRAFFIC, [as_values(row) for row in rows])

    def traffic(self, since: datetime | None = None, until: datetime | None = None) -> list[TrafficRow]:
        """Counts of requests from ``since`` on and before ``until``, in order of time."""
        query = between(select(TRAFFIC), TRAFFIC, since, until)
        return self._rows(TrafficRow, query.order_by(TRAFFIC.c.at, TRAFFIC.c.id))

    def count_answers(
        self, task: str, version: str, since: datetime | None = None, until: datetime | None = None
    ) -> int:
        """How many predictions of a version were told to somebody, from ``since`` on and before ``until``."""
        query = between(select(func.count()).select_from(PREDICTIONS), PREDICTIONS, since, until)
        wanted = (PREDICTIONS.c.task == task, PREDICTIONS.c.version == version, PREDICTIONS.c.is_shadow.is_(False))
        with self._read() as connection:
            return int(connection.execute(query.where(*wanted)).scalar_one())

    def add_reference(self, row: ReferenceRow) -> None:
        """Store a reference; one whose id is there is left as it is."""
        self._add(REFERENCES, row)

    def reference(self, id: str) -> ReferenceRow:
        """One reference, whole.

        Raises
        ------
        UnknownRowError
            There is none of that id.
        """
        found = self._one(ReferenceRow, select(REFERENCES).where(REFERENCES.c.id == id))
        if found is None:
            raise UnknownRowError(f"there is no reference '{id}' in the store; list them first")
        return found

    def references(
        self, task: str | None = None, version: str | None = None, limit: int | None = None
    ) -> list[ReferenceRow]:
        """The references without their payload, the newest first."""
        query: Select[Any] = select(*_LISTED, literal("").label("payload"))
        for column, value in ((REFERENCES.c.task, task), (REFERENCES.c.version, version)):
            query = query if value is None else query.where(column == value)
        return self._rows(ReferenceRow, query.order_by(REFERENCES.c.at.desc(), REFERENCES.c.id).limit(limit))

    def monitor_state(self, name: str) -> State | None:
        """What was kept under a name."""
        with self._read() as connection:
            return _read_state(connection, name)

    def monitor_states(self, prefix: str) -> dict[str, State]:
        """What was kept under every name that begins so, in order of names."""
        starts = MONITOR_STATES.c.name.startswith(prefix, autoescape=True)
        query = select(MONITOR_STATES.c.name, MONITOR_STATES.c.state).where(starts)
        with self._read() as connection:
            found = connection.execute(query.order_by(MONITOR_STATES.c.name)).all()
        return {name: dict(state) for name, state in found}

    def change_monitor_state(self, name: str, change: Callable[[State | None], State | None]) -> State | None:
        """Replace what is kept under a name by what ``change`` makes of it, in one transaction; None deletes it.

        Of several who change the same name at once, each sees what the one before it left.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; nothing was changed.
        """
        name = clean_text(name)
        with self._write() as connection:
            if not self.is_sqlite:  # a row that is not there yet cannot be locked
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"monitor/{name}"}
                )
            new = change(_read_state(connection, name))
            if new is None:
                connection.execute(delete(MONITOR_STATES).where(MONITOR_STATES.c.name == name))
                return None
            make = sqlite.insert if self.is_sqlite else postgresql.insert
            statement = make(MONITOR_STATES).values(name=name, state=new, at=utc_now())
            replaced = {"state": statement.excluded.state, "at": statement.excluded.at}
            connection.execute(
                statement.on_conflict_do_update(index_elements=[MONITOR_STATES.c.name], set_=replaced)
            )
            return new


def _read_state(connection: Connection, name: str) -> State | None:
    found = connection.execute(select(MONITOR_STATES.c.state).where(MONITOR_STATES.c.name == name)).scalar()
    return None if found is None else dict(found)
