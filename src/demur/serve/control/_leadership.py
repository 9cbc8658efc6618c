"""Which controller acts: the one that holds a lease of the store, as far as it can know without asking."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demur.store import Store

LEASE = "controller"
_SHARE = 0.8
"""Of the lease's time is acted upon; the rest is for whatever was just begun."""


class Leadership:
    """Holds a lease, or waits for it.

    Parameters
    ----------
    store
        Keeps the lease.
    lease_s
        How long it lasts without renewal.
    name
        Of the lease.
    """

    def __init__(self, store: Store, lease_s: float, name: str = LEASE) -> None:
        self._store, self._lease_s, self._name = store, lease_s, name
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        """Host, process and a random part: no two are equal."""
        self._until = 0.0
        self._asking = threading.Lock()
        self._is_over = False

    @property
    def is_leader(self) -> bool:
        """Whether nobody else can hold the lease now, by this machine's steady clock."""
        return time.monotonic() < self._until

    @property
    def renew_every_s(self) -> float:
        """Seconds between two calls of :meth:`renew`."""
        return self._lease_s / 4

    def renew(self) -> bool:
        """Take or renew the lease; whether it is held.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; what was held is held until its time is over.
        """
        with self._asking:
            if self._is_over:
                return False
            asked = time.monotonic()  # before the question, so that the database's clock ends later than ours
            found = self._store.lease(self._name, self.holder, self._lease_s)
            self._until = 0.0 if found is None else asked + self._lease_s * _SHARE
            return self.is_leader

    def release(self) -> None:
        """Give the lease back for good, so that another need not wait for its end.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; the lease ends by itself.
        """
        self._until = 0.0
        with self._asking:
            self._is_over, self._until = True, 0.0
            self._store.release(self._name, self.holder)
