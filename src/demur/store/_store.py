"""The store as one object."""

from __future__ import annotations

from demur.store._engine import shown_url
from demur.store._history import History
from demur.store._keep import Retention
from demur.store._keys import Keys
from demur.store._leases import Leases
from demur.store._monitor import Monitoring
from demur.store._records import Records
from demur.store._registry import ModelRegistry
from demur.store._tables import METADATA


class Store(Monitoring, Records, ModelRegistry, History, Keys, Leases, Retention):
    """All that demur keeps in a database; made by :func:`open_store`, safe to share between threads.

    Every method is one short transaction (deletion by age is many), and raises ``StoreUnavailableError`` where the
    database does not answer.
    """

    @property
    def url(self) -> str:
        """The address, without password."""
        return shown_url(self._engine)

    def migrate(self) -> None:
        """Bring the tables to this version."""
        with self._write() as connection:
            METADATA.create_all(connection)

    def ping(self) -> None:
        """Ask the database for an answer.

        Raises
        ------
        StoreUnavailableError
            It gives none.
        """
        with self._read() as connection:
            connection.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        """Close every connection; the store connects again when it is used again."""
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()
