"""The store as one object, and how it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demur.errors import require

if TYPE_CHECKING:
    from demur.store._store import Store

DEFAULT_URL = "sqlite:///demur.db"


def open_store(url: str = DEFAULT_URL) -> Store:
    """Open a store; nothing is connected to until it is used, so a database that is down does not matter yet.

    Open it in the process that uses it; threads may share it. Its tables are made by :meth:`Store.migrate`.

    Parameters
    ----------
    url
        ``sqlite:///file`` or ``postgresql://user:password@host:port/name``.

    Raises
    ------
    UsageError
        The address is none of the two.
    MissingDependencyError
        A library of the extra ``serve`` is not installed.
    """
    require("sqlalchemy", extra="serve")
    require("alembic", extra="serve")
    from demur.store._engine import make_engine
    from demur.store._store import Store

    return Store(make_engine(url))
