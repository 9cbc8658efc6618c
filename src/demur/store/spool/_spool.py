"""The spool: rows are safe on disk before the caller goes on, and reach the database when it answers."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import StorageError
from demur.store.spool._codec import Kind, encode
from demur.store.spool._drain import DrainResult, drain_file, remove_stale_locks
from demur.store.spool._file import SUFFIX, Fsync, connect, plain, remove, spool_error, used_bytes
from demur.store.spool._quarantine import NAME, QuarantinedRow, SetAside
from demur.store.spool._writer import Ticket, Writer

if TYPE_CHECKING:
    from demur.store._store import Store

_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """How much waits in a spool folder."""

    rows: int
    """At most so many; fewer where a deletion left gaps."""
    bytes: int
    oldest_age_s: float | None
    """Seconds that the first row has waited, or None where none waits."""
    files: int
    quarantined: int


class Spool:
    """A folder of files, one for each process that puts rows; any process may drain and delete.

    Threads may share it. A child process must open its own.

    Parameters
    ----------
    fsync
        ``always``: a row that was put survives a loss of power. ``interval``: all but those of the last
        ``interval_s``. ``never``: the system decides, and a loss of power may cost a whole file. All three survive
        the killing of a process at any moment.
    max_bytes
        What may wait in the folder, quarantine included.
    """

    def __init__(
        self, folder: Path | str, fsync: Fsync = "interval", *, interval_s: float = 1.0, max_bytes: int = 2**30
    ) -> None:
        self.folder, self.fsync, self.interval_s, self.max_bytes = Path(folder), fsync, interval_s, max_bytes
        self._writer: Writer | None = None
        self._starting = threading.Lock()
        self._process = os.getpid()
        self._others = (-_LOOK_EVERY_S, 0)

    def put(self, kind: Kind, rows: Sequence[Any]) -> None:
        """Put rows, all or none, and come back when they are on disk.

        Raises
        ------
        SpoolFullError
            No more bytes may wait; nothing was put. See why the database takes none.
        StorageError
            The disk is full or not writable; nothing was put.
        BadRowError
            A row is not of the kind or holds what JSON cannot; nothing was put.
        """
        if not rows:
            return
        ticket = Ticket(encode(kind, rows))
        self._started().put(ticket)
        ticket.done.result()

    async def aput(self, kind: Kind, rows: Sequence[Any]) -> None:
        """Put rows from an event loop, as :meth:`put` does; the loop goes on meanwhile.

        A caller that is cancelled while it waits does not know whether its rows were put.

        Raises
        ------
        SpoolFullError, StorageError, BadRowError
            As of :meth:`put`.
        """
        if not rows:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._started().put(Ticket(encode(kind, rows), loop, waiter))
        await waiter

    def drain(self, store: Store) -> DrainResult:
        """Move what waits by now into the store, from this process's file and from all others'.

        A file at which another process is draining is passed over.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; the rows stay.
        StoreError
            The store is of another version; the rows stay.
        StorageError
            The folder cannot be used.
        """
        result = DrainResult()
        for path in self._files():
            result += drain_file(path, store, self._guard(path))
        remove_stale_locks(self.folder)
        return result

    def delete(self, request_id: str) -> int:
        """Delete what waits of a request, in every file and in quarantine; the number of rows.

        Raises
        ------
        StorageError
            The folder cannot be used.
        """
        deleted = 0
        paths = [*self._files(), self.folder / NAME]
        for path in paths:
            try:
                deleted += _delete_in(path, request_id, self._guard(path)) if path.exists() else 0
            except sqlite3.Error as error:
                if path.exists() and "no such table" not in str(error):
                    raise spool_error(error, self.folder) from error
        return deleted

    def stats(self) -> SpoolStats:
        """How much waits, in all files of the folder.

        Raises
        ------
        StorageError
            The folder cannot be used.
        """
        rows, size, oldest, files = 0, 0, None, 0
        for path in self._files():
            try:
                found = _look(path)
            except sqlite3.Error:  # gone meanwhile, just beginning, or broken, which draining finds
                continue
            rows, size, files = rows + found[0], size + found[1], files + 1
            if found[2] is not None:
                oldest = found[2] if oldest is None else min(oldest, found[2])
        age = None if oldest is None else max(0.0, time.time() - oldest)
        try:
            return SpoolStats(rows, size, age, files, SetAside(self.folder).count())
        except sqlite3.Error as error:
            raise spool_error(error, self.folder) from error

    def quarantined(self) -> list[QuarantinedRow]:
        """The rows that no store would take, without their texts."""
        return SetAside(self.folder).rows()

    def requeue(self) -> int:
        """Put the rows in quarantine back into line, once what kept them out is mended; how many.

        Raises
        ------
        SpoolFullError, StorageError
            As of :meth:`put`.
        """
        aside = SetAside(self.folder)
        found = aside.entries()
        if found:
            ticket = Ticket([entry for _, entry in found])
            self._started().put(ticket)
            ticket.done.result()
            aside.remove([number for number, _ in found])
        return len(found)

    def purge(self, older_than: datetime) -> int:
        """Delete rows in quarantine by age; how many. Rows that wait for the database are not deleted by age."""
        return SetAside(self.folder).purge(older_than)

    def close(self) -> None:
        """Commit what was put and give this process's file up; what waits in it is drained by another."""
        with self._starting:
            writer, self._writer = self._writer, None
        if writer is not None and self._process == os.getpid():
            writer.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _started(self) -> Writer:
        if self._process != os.getpid():
            raise StorageError(f"the spool {self.folder} was opened in another process; open one in each")
        if self._writer is None:
            with self._starting:
                if self._writer is None:
                    self._writer = Writer(self.folder, self.fsync, self.interval_s, self._room)
        return self._writer

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    def _guard(self, path: Path) -> AbstractContextManager[Any]:
        writer = self._writer
        return writer.guard if writer is not None and writer.path == path else nullcontext()

    def _room(self) -> int:
        """Bytes that the other files leave, looked at once a second."""
        looked, used = self._others
        if time.monotonic() - looked >= _LOOK_EVERY_S:
            own = self._writer.path if self._writer is not None else None
            used = sum(_size(path) for path in [*self._files(), self.folder / NAME] if path != own)
            self._others = (time.monotonic(), used)
        return self.max_bytes - used


def delete_request(store: Store, spool: Spool | None, request_id: str) -> int:
    """Delete a request from the store and from what waits; the number of rows.

    The store first: from then on it refuses what a drainer has in hand.

    Raises
    ------
    StoreUnavailableError
        The database does not answer; nothing was deleted.
    StorageError
        The spool cannot be used; the store has deleted its rows, and will take none of those that wait.
    """
    deleted = store.delete(request_id)
    return deleted + (spool.delete(request_id) if spool is not None else 0)


def _delete_in(path: Path, request_id: str, guard: AbstractContextManager[Any]) -> int:
    with closing(connect(path)) as connection:
        # Found without the lock of a writer, since this may read the whole file.
        found = connection.execute("SELECT seq FROM rows WHERE request_id = ?", (plain(request_id),)).fetchall()
        with guard:
            if found:
                remove(connection, [seq for (seq,) in found])
            # The write-ahead log still holds what was deleted, now or by draining.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return len(found)


def _look(path: Path) -> tuple[int, int, float | None]:
    """Rows, bytes and the time of the first row of a file, without reading all of it."""
    with closing(connect(path)) as connection:
        first = connection.execute("SELECT seq, at FROM rows ORDER BY seq LIMIT 1").fetchone()
        (last,) = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM rows").fetchone()
        return (last - first[0] + 1 if first else 0), used_bytes(connection), (first[1] if first else None)


def _size(path: Path) -> int:
    """Bytes in use of a file, or 0 where there is none that can be read."""
    try:
        with closing(connect(path)) as connection:
            return used_bytes(connection)
    except sqlite3.Error:
        return 0
