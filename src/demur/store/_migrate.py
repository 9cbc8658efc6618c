"""Bringing a database to this version's tables, one process at a time, and refusing one that is ahead."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from demur.errors import StoreError
from demur.store._engine import demur_errors, shown_url

VERSION_TABLE = "demur_version"
LOCK = 0x64656D75725F6D
"""Of PostgreSQL's advisory locks, the one that a migrating process holds."""
LONGEST_WAIT_S = 600


def migrate(engine: Engine) -> list[str]:
    """Run the steps that are missing, in one transaction; their names, none where the tables are up to date.

    Of several processes at once the first does the work and the others wait for it.

    Parameters
    ----------
    engine
        One whose transactions take SQLite's lock at once.

    Raises
    ------
    StoreError
        The store was made by a newer version.
    StoreUnavailableError
        The database does not answer.
    """
    scripts = _scripts()
    with demur_errors(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{LONGEST_WAIT_S}s'"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        before = _found(connection)
        _refuse_newer(before, scripts, engine)
        context = MigrationContext.configure(
            connection,
            opts={"version_table": VERSION_TABLE, "fn": lambda at, _: scripts._upgrade_revs("heads", at)},
        )
        with Operations.context(context):
            context.run_migrations()
        return [one.revision for one in scripts.iterate_revisions("heads", before or "base")][::-1]


def check(engine: Engine) -> None:
    """Make sure that a store has this version's tables.

    Raises
    ------
    StoreError
        It has none or older ones: run ``demur store migrate``. Or newer ones: install a newer demur.
    StoreUnavailableError
        The database does not answer.
    """
    scripts = _scripts()
    with demur_errors(engine), engine.begin() as connection:
        found = _found(connection)
    if found == scripts.get_current_head():
        return
    _refuse_newer(found, scripts, engine)
    where = shown_url(engine)
    if found is None:
        raise StoreError(f"the store at {where} lacks tables; run: demur store migrate --url URL")
    raise StoreError(
        f"the store at {where} has the tables of an earlier demur ({found}, this one needs "
        f"{scripts.get_current_head()}); run: demur store migrate --url URL"
    )


def _scripts() -> ScriptDirectory:
    folder = Path(__file__).with_name("migrations")
    return ScriptDirectory(str(folder), version_locations=[str(folder)])


def _found(connection: Connection) -> str | None:
    """The revision of the tables, or None where there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    return None if found is None else str(found)


def _refuse_newer(found: str | None, scripts: ScriptDirectory, engine: Engine) -> None:
    known: Iterable[str] = (one.revision for one in scripts.walk_revisions())
    if found is not None and found not in set(known):
        raise StoreError(
            f"the store at {shown_url(engine)} was made by a newer demur (its tables are {found}, the newest "
            f"known here {scripts.get_current_head()}); install that version, or name another database"
        )
