"""One engine for SQLite or PostgreSQL, its settings, and its errors in demur's words, never with a row's texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from demur.errors import (
    BadRowError,
    DemurError,
    StorageError,
    StoreError,
    StoreUnavailableError,
    UsageError,
    require,
)

BUSY_TIMEOUT_S = 15
CONNECT_TIMEOUT_S = 5
_POSTGRES = {"postgres", "postgresql", "postgresql+psycopg"}
_LATER = ("08", "25006", "28", "3D", "40", "53", "55P03", "57", "58")
"""SQLSTATE classes that may pass: no connection, stand-by, login, deadlock, no resources, lock, shutdown, I/O."""
_BAD_ROW = ("22", "23", "54")
"""SQLSTATE classes of a value that does not fit its column, a broken constraint, a key too long for its index."""


def parse_url(url: str) -> URL:
    """The address of a database with the driver demur uses.

    Raises
    ------
    UsageError
        It is no address, or not of SQLite on a file or of PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError(
            "the address of the database is not readable; give sqlite:///demur.db or "
            "postgresql://user:password@host/name"
        ) from None
    if parsed.drivername in _POSTGRES:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise UsageError(f"a store cannot be kept in '{parsed.drivername}'; give a sqlite or postgresql address")
    if not parsed.database or ":memory:" in parsed.database:
        raise UsageError(
            "a store in memory ends with its process and is not shared by others; give a file: sqlite:///demur.db"
        )
    return parsed.set(drivername="sqlite+pysqlite")


def make_engine(url: str) -> Engine:
    """An engine that connects on first use.

    Raises
    ------
    UsageError
        The address is not one of a store.
    MissingDependencyError
        The driver is not installed.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _make_sqlite(parsed)
    require("psycopg", extra="serve")
    engine = create_engine(
        parsed,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=5,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            # A server that vanished without a word is noticed within half a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "application_name": "demur",
        },
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        """Times come back in UTC whatever the server's zone; no statement waits for ever for a lock."""
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_S * 1000}")
            # A row leaves the spool once it is committed here: then it must be on the server's disk.
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
        connection.commit()

    return engine


def _make_sqlite(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # demur begins transactions itself: a writer asks for the lock first
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # a row taken from the spool is not lost with the power
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
        connection.execute("PRAGMA journal_size_limit=16777216")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_writer = connection.get_execution_options().get("demur_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

    return engine


@contextmanager
def demur_errors(engine: Engine) -> Iterator[None]:
    """Turn what SQLAlchemy and the drivers raise into demur's errors.

    Raises
    ------
    StoreUnavailableError
        The database does not answer, is locked or is shutting down.
    BadRowError
        A value fits no column.
    StorageError
        The disk is full.
    StoreError
        Anything else, such as tables that are not there.
    """
    try:
        yield
    except DemurError:
        raise
    except StatementError as error:
        found = _translate_statement(error, engine)
        _silence(error)
        raise found from None
    except PoolTimeoutError:
        raise StoreUnavailableError(
            f"every connection to {shown_url(engine)} stayed in use for {BUSY_TIMEOUT_S} s; try again"
        ) from None
    except (OverflowError, UnicodeEncodeError) as error:
        raise BadRowError(f"a row does not fit its table ({type(error).__name__})") from None
    except SQLAlchemyError as error:
        raise StoreError(f"the store at {shown_url(engine)} failed ({type(error).__name__})") from None


def _silence(error: StatementError) -> None:
    """Take the driver's words from errors that stay in the context of ours: they may quote the row."""
    for one in (error, error.orig):
        if one is not None and not isinstance(one, DemurError):
            one.args = (type(one).__name__,)


def shown_url(engine: Engine) -> str:
    """The address without password."""
    return engine.url.render_as_string(hide_password=True).replace("+pysqlite", "").replace("+psycopg", "")


def _kind(error: StatementError) -> str:
    return type(error.orig or error).__name__


def _translate_statement(error: StatementError, engine: Engine) -> DemurError:
    if isinstance(error.orig, DemurError):
        return error.orig
    if isinstance(error, DBAPIError):
        return _translate(error, engine)
    return BadRowError(f"a row does not fit its table ({_kind(error)}); check its types")


def _translate(error: DBAPIError, engine: Engine) -> DemurError:
    where = shown_url(engine)
    if engine.dialect.name == "sqlite":
        return _translate_sqlite(error, where)
    state = getattr(error.orig, "sqlstate", None)
    if state is None and _kind(error) in ("DataError", "ProgrammingError", "NotSupportedError"):
        return BadRowError(f"a row does not fit its table ({_kind(error)})")  # the driver could not even send it
    if error.connection_invalidated or state is None or state.startswith(_LATER):
        # Without a statement it is the driver's own sentence on connecting, in which no row can be.
        said = " ".join(str(error.orig).split("\n")[0].split()) if error.statement is None else ""
        why = said or f"{_kind(error)}{f' {state}' if state else ''}"
        return StoreUnavailableError(
            f"the database {where} does not answer ({why}); check that it runs and can be reached"
        )
    if state in ("42P01", "3F000", "42703"):
        return _no_tables(where)
    if state.startswith(_BAD_ROW):
        return BadRowError(f"a row does not fit its table ({_kind(error)}, {state})")
    return StoreError(f"the database {where} refused a statement ({_kind(error)}, {state})")


def _translate_sqlite(error: DBAPIError, where: str) -> DemurError:
    said, kind = str(error.orig), _kind(error)
    if "no such table" in said or "has no column" in said or "no such column" in said:
        return _no_tables(where)
    if "disk is full" in said:
        return StorageError(f"no disk space left while writing to {where}; free some space")
    if kind in ("IntegrityError", "DataError", "InterfaceError", "ProgrammingError"):
        return BadRowError(f"a row does not fit its table ({kind})")
    if "not a database" in said or "malformed" in said:
        return StoreError(f"{where} is no readable SQLite database; restore it from a backup or name another file")
    if "readonly" in said:
        return StoreUnavailableError(f"{where} cannot be written; check the permissions of file and folder")
    if "unable to open" in said:
        return StoreUnavailableError(f"{where} cannot be opened; check that its folder exists and can be written")
    return StoreUnavailableError(f"{where} does not answer ({said}); try again")


def _no_tables(where: str) -> StoreError:
    return StoreError(f"the store at {where} lacks tables of this version; run: demur store migrate --url URL")
