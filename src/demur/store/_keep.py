"""What is kept and for how long: counts, deletion of a request, deletion by age in small transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from demur.errors import UsageError, near_match
from demur.store._base import Base
from demur.store._engine import BUSY_TIMEOUT_S
from demur.store._records import DELETION_LOCK
from demur.store._rows import utc_now
from demur.store._tables import DELETIONS, EVENTS, EXPERIMENTS, FEEDBACK, INPUT_SAMPLES, PREDICTIONS, TABLES

PURGED = ("predictions", "feedback", "deletions", "input_samples", "traffic")
"""What deletion by age takes unless asked otherwise: what came from users."""
_TIMEOUT_MS = BUSY_TIMEOUT_S * 1000
_AGELESS = ("models", "keys", "monitor_states")
_AFTER_END = timedelta(days=1)
"""How long the events of an experiment outlive its end at least: by them is known what was done."""
_HAVE_AGE = tuple(name for name, table in TABLES.items() if "at" in table.c and name not in _AGELESS)


class Retention(Base):
    """The part of the store that forgets."""

    def counts(self) -> dict[str, int]:
        """Rows of every table."""
        with self._read() as connection:
            return {
                name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for name, table in TABLES.items()
            }

    def delete(self, request_id: str) -> int:
        """Delete all that is stored of a request, and refuse what comes later; the number of rows deleted.

        What waits in a spool is refused when it is drained; :func:`demur.store.delete_request` deletes it there at
        once.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; nothing was deleted.
        """
        with self._write() as connection:
            if not self.is_sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({DELETION_LOCK})"))
            self._insert(connection, DELETIONS, [{"request_id": request_id, "at": utc_now()}])
            deleted = sum(
                connection.execute(delete(table).where(table.c.request_id == request_id)).rowcount
                for table in (PREDICTIONS, FEEDBACK, INPUT_SAMPLES)
            )
        self._empty_log()
        return deleted

    def purge(
        self, older_than: datetime, tables: Iterable[str] = PURGED, batch_rows: int = 2000
    ) -> dict[str, int]:
        """Delete rows by age, ``batch_rows`` a transaction, so that nobody waits long; the number of each table.

        Events of an experiment under way stay, however old they are.

        Raises
        ------
        UsageError
            A table has no age, or there is none of that name.
        StoreUnavailableError
            The database does not answer; what was deleted so far stays deleted.
        """
        wanted = tuple(tables)
        for name in wanted:
            if name not in _HAVE_AGE:
                near = near_match(name, _HAVE_AGE)
                raise UsageError(f"'{name}' is no table to purge{near}; there are {', '.join(_HAVE_AGE)}")
        done = {name: self._purge_table(name, older_than, batch_rows) for name in wanted}
        self._empty_log()
        return done

    def _purge_table(self, name: str, older_than: datetime, batch_rows: int) -> int:
        table = TABLES[name]
        (key,) = table.primary_key.columns
        old = select(key).where(table.c.at < older_than)
        if table is EVENTS:
            ended = EXPERIMENTS.c.ended_at
            is_alive = or_(ended.is_(None), ended >= older_than - _AFTER_END)
            old = old.where(EVENTS.c.experiment.not_in(select(EXPERIMENTS.c.id).where(is_alive)))
        some = old.order_by(table.c.at).limit(batch_rows)
        total = 0
        while True:
            with self._write() as connection:
                deleted = connection.execute(delete(table).where(key.in_(some))).rowcount
            total += deleted
            if deleted < batch_rows:
                return total

    def purge_texts(self, older_than: datetime, batch_rows: int = 2000) -> int:
        """Delete the texts of older rows, and keep what was answered; the number of rows that lost some.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; what was deleted so far stays deleted.
        """
        total = 0
        for table, names in ((PREDICTIONS, ("prompt", "response")), (FEEDBACK, ("note",))):
            has_text = or_(*(table.c[name].is_not(None) for name in names))
            old = select(table.c.id, table.c.at).where(table.c.at < older_than, has_text).order_by(table.c.at)
            query = old.limit(batch_rows)
            while True:
                with self._write() as connection:
                    found = connection.execute(query).all()
                    some = table.c.id.in_([row.id for row in found])
                    connection.execute(update(table).where(some).values(dict.fromkeys(names)))
                total += len(found)
                if len(found) < batch_rows:
                    break
                query = old.where(table.c.at >= found[-1].at).limit(batch_rows)  # not from the start again
        self._empty_log()
        return total

    def _empty_log(self) -> None:
        """Empty SQLite's write-ahead log, where deleted texts still stand; where others read just now, later."""
        if not self.is_sqlite:
            return
        with suppress(SQLAlchemyError, sqlite3.Error):
            connection = self._engine.raw_connection()
            try:
                for statement in ("busy_timeout=1000", "wal_checkpoint(TRUNCATE)", f"busy_timeout={_TIMEOUT_MS}"):
                    connection.cursor().execute(f"PRAGMA {statement}").fetchall()
            finally:
                connection.close()
