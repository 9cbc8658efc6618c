"""The store as one object."""

from __future__ import annotations

from demur.store._engine import demur_errors, shown_url
from demur.store._export import Export
from demur.store._history import History
from demur.store._keep import Retention
from demur.store._keys import Keys
from demur.store._leases import Leases
from demur.store._migrate import migrate
from demur.store._monitor import Monitoring
from demur.store._overview import Overview
from demur.store._records import Records
from demur.store._registry import ModelRegistry


class Store(Overview, Monitoring, Records, ModelRegistry, History, Keys, Leases, Retention, Export):
    """All that demur keeps in a database; made by :func:`open_store`, safe to share between threads.

    Every method is one short transaction (deletion by age is many), and raises ``StoreUnavailableError`` where the
    database does not answer.
    """

    @property
    def url(self) -> str:
        """The address, without password."""
        return shown_url(self._engine)

    def migrate(self) -> list[str]:
        """Bring the tables to this version; the steps that were taken. Any number of processes may do so at once.

        Raises
        ------
        StoreError
            The store was made by a newer demur.
        StoreUnavailableError
            The database does not answer.
        """
        return migrate(self._writer)

    def ping(self) -> None:
        """Ask the database for an answer.

        Raises
        ------
        StoreUnavailableError
            It gives none.
        """
        with demur_errors(self._engine), self._engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        """Close every connection; the store connects again when it is used again."""
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()
