"""Tables as Parquet files or into another store, streamed: memory does not grow with the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Column, Select, Table, select

from demur.errors import UsageError, near_match
from demur.paths import replace_when_done
from demur.store._base import Base, between
from demur.store._tables import LEASES, TABLES
from demur.store._types import CleanJson, FiniteFloat, Utc

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS, ROW_GROUP = 2000, 10000
TEXTS = ("prompt", "response", "note")
"""Columns of predictions and feedback that hold what people wrote."""


class Export(Base):
    """The part of the store that gives copies away."""

    def export(
        self,
        path: Path | str,
        table: str = "predictions",
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        texts: bool = True,
    ) -> int:
        """Write a table as one Parquet file, whole or not at all; the number of rows.

        The rows are those of one moment, in order of time. Times are in UTC, and JSON is text.

        Parameters
        ----------
        since, until
            Only rows from this time on, and before that one.
        texts
            Whether prompts, responses and notes are written; else their columns are empty.

        Raises
        ------
        UsageError
            There is no such table, or its rows have no time.
        StoreUnavailableError
            The database does not answer; no file was written.
        StorageError
            The disk is full or not writable.
        """
        import polars as pl
        from polars.io.plugins import register_io_source

        found = _find(table, needs_time=since is not None or until is not None)
        query = between(select(found), found, since, until).order_by(*_order(found))
        schema = pl.Schema({column.name: _polars_type(column) for column in found.columns})
        makers = [_maker(column, table, texts=texts) for column in found.columns]
        count = 0

        def source(columns: list[str] | None, *_: Any) -> Iterator[pl.DataFrame]:
            nonlocal count
            for rows in self._batches(query, makers):
                count += len(rows)
                frame = pl.DataFrame(rows, schema=schema, orient="row")
                yield frame if columns is None else frame.select(columns)

        with replace_when_done(Path(path)) as part:
            register_io_source(source, schema=schema).sink_parquet(part, row_group_size=ROW_GROUP)
        return count

    def export_all(self, folder: Path | str, *, texts: bool = True) -> dict[str, int]:
        """Write every table as ``folder/<table>.parquet``; the number of rows of each.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; the files written before are whole.
        StorageError
            The disk is full or not writable.
        """
        return {name: self.export(Path(folder) / f"{name}.parquet", name, texts=texts) for name in TABLES}

    def copy_to(self, target: Base) -> dict[str, int]:
        """Add every row to another store, such as one on PostgreSQL to move to; the number that were new there.

        Rows that the target has already are left, so an interrupted copy is simply run again. Leases are not
        copied. Stop the servers first, else what they write meanwhile is only partly copied.

        Raises
        ------
        UsageError
            The target is this very store.
        StoreUnavailableError
            One of the two does not answer; what was copied so far is there.
        """
        if target._engine.url == self._engine.url:
            raise UsageError("a store cannot be copied onto itself; name another database")
        done = {}
        for name, table in TABLES.items():
            if table is LEASES:
                continue
            query = select(table).order_by(*_order(table))
            done[name] = 0
            for rows in self._batches(query, [_as_it_is] * len(table.columns)):
                values = [dict(zip(table.columns.keys(), row, strict=True)) for row in rows]
                with target._write() as connection:
                    done[name] += target._insert(connection, table, values)
        return done

    def _batches(self, query: Select[Any], makers: list[Callable[[Any], Any]]) -> Iterator[list[tuple[Any, ...]]]:
        with self._read() as connection:
            found = connection.execution_options(yield_per=BATCH_ROWS).execute(query)
            for rows in found.partitions():
                yield [tuple(make(value) for make, value in zip(makers, row, strict=True)) for row in rows]


def _as_it_is(value: Any) -> Any:
    return value


def _find(name: str, *, needs_time: bool) -> Table:
    table = TABLES.get(name)
    if table is None:
        raise UsageError(f"the store has no table '{name}'{near_match(name, TABLES)}; it has {', '.join(TABLES)}")
    if needs_time and "at" not in table.c:
        raise UsageError(f"the rows of '{name}' have no time; export all of them, without since and until")
    return table


def _order(table: Table) -> list[Column[Any]]:
    return [*([table.c.at] if "at" in table.c else []), *table.primary_key.columns]


def _polars_type(column: Column[Any]) -> Any:
    import polars as pl

    if isinstance(column.type, Utc):
        return pl.Datetime("us", "UTC")
    kinds = ((Boolean, pl.Boolean), (BigInteger, pl.Int64), (FiniteFloat, pl.Float64))
    return next((found for kind, found in kinds if isinstance(column.type, kind)), pl.String)


def _maker(column: Column[Any], table: str, *, texts: bool) -> Callable[[Any], Any]:
    """What makes of a value of the store one of the file."""
    if not texts and column.name in TEXTS and table in ("predictions", "feedback"):
        return lambda _: None
    if isinstance(column.type, CleanJson):
        return lambda value: None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return _as_it_is
