"""A thread that drains a spool again and again, and waits longer while the database is down."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING

from demur.errors import DemurError

if TYPE_CHECKING:
    from demur.store._store import Store
    from demur.store.spool._spool import Spool

_LOG = logging.getLogger("demur.store")


class Drainer:
    """Drains from ``start`` to ``stop``.

    Parameters
    ----------
    every_s
        Seconds between two looks at the spool.
    longest_wait_s
        The wait doubles with each failure up to this, give or take a quarter.
    """

    def __init__(self, spool: Spool, store: Store, every_s: float = 0.5, longest_wait_s: float = 15.0) -> None:
        self._spool, self._store = spool, store
        self._every_s, self._longest_wait_s = every_s, longest_wait_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self.last_error: str | None = None
        """Why the last attempt failed; None after one that did not."""
        self.rows = 0
        """Rows moved so far."""
        self.last_success: float | None = None
        """``time.time()`` of the last attempt that ended well."""

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="demur-drain", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End after one last draining; whether that was within the time and left nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        return self.last_error is None

    def _run(self) -> None:
        while True:
            is_last = self._stopping.is_set()
            self._try()
            if is_last:
                return
            self._stopping.wait(self._wait_s())

    def _try(self) -> None:
        try:
            self.rows += self._spool.drain(self._store).rows
        except DemurError as error:
            if self._failures == 0:
                _LOG.warning("rows wait in the spool: %s", error)
            self._failures += 1
            self.last_error = str(error)
            return
        except Exception as error:
            # Whatever it is, the rows are still there: the thread must not end.
            _LOG.exception("draining the spool failed")
            self._failures += 1
            self.last_error = type(error).__name__
            return
        if self._failures:
            _LOG.info("the spool is drained again, after %d attempts that failed", self._failures)
        self._failures, self.last_error, self.last_success = 0, None, time.time()

    def _wait_s(self) -> float:
        if not self._failures:
            return self._every_s
        wait: float = min(self._longest_wait_s, self._every_s * 2 ** min(self._failures, 30))
        return wait * random.uniform(0.75, 1.25)  # so that many processes do not come back at once
