"""The writer of a spool: one thread that commits what many callers put, as many at once as came meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from demur.errors import DemurError, SpoolFullError, StorageError
from demur.store.spool._codec import Entry
from demur.store.spool._file import (
    Fsync,
    append,
    create_file,
    delete_file,
    last_number,
    lock,
    lock_paths,
    spool_error,
    transaction,
    used_bytes,
)

_LOG = logging.getLogger("demur.store")
_GROUP_BYTES = 8 * 2**20
_PATIENCE, _LONGEST_PATIENCE_S, _SHARE = 0.25, 0.002, 0.75
_ROW_OVERHEAD = 64
"""Bytes a row takes beside its body."""


@dataclass(slots=True)
class Ticket:
    """Rows of one caller, committed all or none, and whom to tell."""

    entries: Sequence[Entry]
    loop: asyncio.AbstractEventLoop | None = None
    waiter: asyncio.Future[None] | None = None
    done: Future[None] = field(default_factory=Future)
    size: int = 0

    def __post_init__(self) -> None:
        self.size = sum(len(one.body) + len(one.request_id) + _ROW_OVERHEAD for one in self.entries)


class Writer:
    """Owns one file and the thread that writes into it.

    Parameters
    ----------
    room
        Says how many bytes the other files of the folder leave for this one.
    """

    def __init__(self, folder: Path, fsync: Fsync, interval_s: float, room: Callable[[], int]) -> None:
        self._folder, self._fsync, self._interval_s, self._room = folder, fsync, interval_s, room
        self.path, self._lock, self._connection = create_file(folder, fsync)
        self.guard = threading.Lock()
        """Held while this process writes to the file: its threads need not wait by SQLite's sleeping."""
        self._queue: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._is_closed = False
        self._wanted, self._commit_s = 0.0, 0.0
        """How many may well share the next commit, and how long the last one took."""
        self._unsynced_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="demur-spool", daemon=True)
        self._thread.start()

    def put(self, ticket: Ticket) -> None:
        """Hand rows over; the ticket tells when they are on disk."""
        self._queue.put(ticket)

    def close(self) -> None:
        """Commit what was put, give the file up, and delete it where nothing waits in it."""
        if self._is_closed:
            return
        self._is_closed = True
        self._queue.put(None)
        self._thread.join()
        self._refuse_rest()
        with suppress(sqlite3.Error):
            is_empty = last_number(self._connection) == 0
            self._connection.close()
            drain = lock(lock_paths(self.path)[1]) if is_empty else None
            if drain is not None:
                delete_file(self.path)
                os.close(drain)
        os.close(self._lock)

    def _run(self) -> None:
        is_open = True
        while is_open:
            try:
                first = self._queue.get(timeout=self._until_sync())
            except queue.Empty:
                self._sync()
                continue
            if first is None:
                break
            is_open, group = self._gather(first)
            self._commit(group)
            if self._until_sync() == 0:
                self._sync()
        self._sync()

    def _gather(self, first: Ticket) -> tuple[bool, list[Ticket]]:
        """Everything that waits by now, or comes within a quarter of a commit where others came together before.

        Callers who were told of a commit at once come back at once. Without this patience the first of them would
        have a commit alone, and all others wait for two (as PostgreSQL's ``commit_delay``).
        """
        group, size = [first], first.size
        until = time.monotonic() + min(_PATIENCE * self._commit_s, _LONGEST_PATIENCE_S)
        while size < _GROUP_BYTES:
            left = until - time.monotonic() if len(group) < self._wanted else 0.0
            try:
                ticket = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if ticket is None:
                return False, group
            group.append(ticket)
            size += ticket.size
        return True, group

    def _commit(self, group: list[Ticket]) -> None:
        start = time.monotonic()
        try:
            with self.guard:
                if not self.path.exists():  # somebody cleared the folder: what is put into a nameless file is lost
                    self._begin_anew()
                kept, full = self._fit(group)
                if kept:
                    with transaction(self._connection):
                        append(self._connection, (entry for ticket in kept for entry in ticket.entries))
        except Exception as error:
            tell(group, spool_error(error, self._folder))
            return
        self._commit_s = time.monotonic() - start
        # Whoever is told now and whoever waits already; not all, so as not to wait for the slowest.
        self._wanted = _SHARE * (len(group) + self._queue.qsize())
        if kept and self._unsynced_since is None and self._fsync == "interval":
            self._unsynced_since = time.monotonic()
        tell(kept, None)
        if full:
            tell(
                full,
                SpoolFullError(
                    f"the spool {self._folder} is full; see why the database takes no rows, or allow it more bytes"
                ),
            )

    def _begin_anew(self) -> None:
        _LOG.error("the spool file %s was deleted while rows may have waited in it; another is begun", self.path)
        with suppress(sqlite3.Error, OSError):
            self._connection.close()
            os.close(self._lock)
        self.path, self._lock, self._connection = create_file(self._folder, self._fsync)

    def _fit(self, group: list[Ticket]) -> tuple[list[Ticket], list[Ticket]]:
        """Those for which there is room, and the others."""
        room = self._room() - used_bytes(self._connection)
        kept: list[Ticket] = []
        full: list[Ticket] = []
        for ticket in group:
            room -= ticket.size
            (kept if room >= 0 else full).append(ticket)
            if room < 0:
                room += ticket.size
        return kept, full

    def _until_sync(self) -> float | None:
        """Seconds until what was written must be on disk for good; None where nothing must."""
        if self._unsynced_since is None:
            return None
        return max(0.0, self._unsynced_since + self._interval_s - time.monotonic())

    def _sync(self) -> None:
        """Bring the write-ahead log to the disk: with it, every row that was acknowledged."""
        if self._unsynced_since is None:
            return
        self._unsynced_since = None
        # No lock is on this file, so a handle of our own may be closed.
        try:
            handle = os.open(f"{self.path}-wal", os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            _LOG.error("rows of the spool %s may not survive a loss of power: %s", self._folder, error.strerror)

    def _refuse_rest(self) -> None:
        rest = []
        while True:
            try:
                ticket = self._queue.get_nowait()
            except queue.Empty:
                break
            if ticket is not None:
                rest.append(ticket)
        tell(rest, StorageError(f"the spool {self._folder} was closed before the row was put"))


def tell(tickets: Sequence[Ticket], error: DemurError | None) -> None:
    """Tell each caller how it ended; the callers of an event loop by one call into it."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for ticket in tickets:
        if ticket.loop is not None and ticket.waiter is not None:
            loops.setdefault(ticket.loop, []).append(ticket.waiter)
        elif error is None:
            ticket.done.set_result(None)
        else:
            ticket.done.set_exception(error)
    for loop, waiters in loops.items():
        with suppress(RuntimeError):  # a loop that was closed has nobody left to tell
            loop.call_soon_threadsafe(_resolve, waiters, error)


def _resolve(waiters: list[asyncio.Future[None]], error: DemurError | None) -> None:
    for one in waiters:
        if one.done():  # its caller gave up
            continue
        if error is None:
            one.set_result(None)
        else:
            one.set_exception(error)
