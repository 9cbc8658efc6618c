"""What every part of the store shares: short transactions, rows in and out, insertion that may be repeated."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select, Table
from sqlalchemy.dialects import postgresql, sqlite

from demur.store._engine import demur_errors
from demur.store._migrate import check

R = TypeVar("R")


class Base:
    """An engine and its transactions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(demur_write=True)
        self._is_checked, self._process = False, os.getpid()

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is a SQLite file."""
        return self._engine.dialect.name == "sqlite"

    def check(self) -> None:
        """Make sure that the tables are of this version; done by itself before a store is first used.

        Raises
        ------
        StoreError
            They are older, newer or not there; the message says what to do.
        StoreUnavailableError
            The database does not answer.
        """
        check(self._engine)

    def _check_once(self) -> None:
        if self._process != os.getpid():  # the connections are those of the process that this one was forked from
            self._engine.dispose(close=False)
            self._process = os.getpid()
        if not self._is_checked:
            self.check()
            self._is_checked = True

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        self._check_once()
        with demur_errors(self._engine), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        self._check_once()
        with demur_errors(self._engine), self._writer.begin() as connection:
            yield connection

    def _insert(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
        """Insert rows whose key is not there yet; how many were new."""
        if not rows:
            return 0
        make = sqlite.insert if self.is_sqlite else postgresql.insert
        statement = make(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
        return connection.execute(statement, list(rows)).rowcount

    def _add(self, table: Table, row: Any) -> None:
        with self._write() as connection:
            self._insert(connection, table, [as_values(row)])

    def _rows(self, kind: type[R], query: Select[Any]) -> list[R]:
        with self._read() as connection:
            return [kind(**row) for row in connection.execute(query).mappings()]

    def _one(self, kind: type[R], query: Select[Any]) -> R | None:
        found = self._rows(kind, query.limit(1))
        return found[0] if found else None


def as_values(row: Any) -> dict[str, Any]:
    """A row's fields, not copied."""
    return {one.name: getattr(row, one.name) for one in fields(row)}


def between(query: Select[Any], table: Table, since: datetime | None, until: datetime | None) -> Select[Any]:
    """The rows from ``since`` on and before ``until``."""
    if since is not None:
        query = query.where(table.c.at >= since)
    return query if until is None else query.where(table.c.at < until)
