"""One file of the spool: a SQLite database in WAL mode with two locks that the system frees with their process.

``X.spool`` holds the rows. ``X.lock`` is locked by the process that writes into it, for as long as it lives;
``X.drain`` by whoever is moving its rows into the store. The locks are files of their own, since closing a handle
of a SQLite file would free SQLite's locks on it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from demur.errors import DemurError, StorageError, translate_os_error
from demur.store.spool._codec import Entry

Fsync = Literal["always", "interval", "never"]
SUFFIX = ".spool"
BUSY_TIMEOUT_S = 15.0
_SYNCHRONOUS = {"always": "FULL", "interval": "NORMAL", "never": "OFF"}
# With AUTOINCREMENT a number is never given twice, so deleting by number never hits a row that came later.
TABLE = """CREATE TABLE IF NOT EXISTS rows (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    request_id TEXT NOT NULL,
    body TEXT NOT NULL,
    at REAL NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry with its number in the file."""

    seq: int
    entry: Entry


def connect(path: Path, fsync: Fsync = "interval", create: str | None = None) -> sqlite3.Connection:
    """Open a SQLite file of the spool, for one thread at a time; it is made only where its table is given.

    Raises
    ------
    sqlite3.Error
        It is not there or no database.
    """
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if create:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={_SYNCHRONOUS[fsync]}")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA journal_size_limit=4194304")
        if create:
            connection.execute(create)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One writing transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def append(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Add entries, in a transaction of the caller's."""
    now = time.time()
    connection.executemany(
        "INSERT INTO rows (kind, request_id, body, at) VALUES (?, ?, ?, ?)",
        ((one.kind, plain(one.request_id), one.body, now) for one in entries),
    )


def read(connection: sqlite3.Connection, after: int, rows: int, max_bytes: int) -> list[Waiting]:
    """The next entries in order, at least one where there is any."""
    found: list[Waiting] = []
    size = 0
    query = "SELECT seq, kind, request_id, body FROM rows WHERE seq > ? ORDER BY seq LIMIT ?"
    with closing(connection.execute(query, (after, rows))) as cursor:
        for seq, kind, request_id, body in cursor:
            size += len(body)
            if found and size > max_bytes:
                break
            found.append(Waiting(seq, Entry(kind, request_id, body)))
    return found


def remove(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Delete entries by their numbers."""
    with transaction(connection):
        connection.executemany("DELETE FROM rows WHERE seq = ?", ((one,) for one in numbers))


def remove_between(connection: sqlite3.Connection, first: int, last: int) -> None:
    """Delete entries that were read in one go, by their first and last number."""
    with transaction(connection):
        connection.execute("DELETE FROM rows WHERE seq BETWEEN ? AND ?", (first, last))


def last_number(connection: sqlite3.Connection) -> int:
    """The highest number that waits, or 0."""
    (found,) = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM rows").fetchone()
    return int(found)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the pages in use; free pages will be used again."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    return int((pages - free) * size)


def shrink(connection: sqlite3.Connection, *, keep_pages: int = 2048) -> None:
    """Give space back to the system where much of the file is free."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > keep_pages:
        # As a script: execute() would step once, and each step frees one page.
        connection.executescript(f"PRAGMA incremental_vacuum({free - keep_pages})")


def lock(path: Path, *, create: bool = False) -> int | None:
    """Lock a file without waiting: a handle to close, or None where another process has it or it is gone."""
    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    try:
        handle = os.open(path, flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def lock_paths(path: Path) -> tuple[Path, Path]:
    """The owner's lock and the drainer's of a spool file."""
    return path.with_suffix(".lock"), path.with_suffix(".drain")


def create_file(folder: Path, fsync: Fsync) -> tuple[Path, int, sqlite3.Connection]:
    """Make a new file that this process owns: its path, its lock, and a connection to write by.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    path = folder / f"{os.getpid()}-{uuid.uuid4().hex}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner, drain = lock_paths(path)
        handle = lock(owner, create=True)
        assert handle is not None  # nobody else knows the name
        for new in (drain, path):
            os.close(os.open(new, os.O_CREAT | os.O_RDWR, 0o600))  # texts may be in it: nobody else reads it
        connection = connect(path, fsync, TABLE)
        sync_folder(folder)
    except (OSError, sqlite3.Error) as error:
        raise spool_error(error, folder) from error
    return path, handle, connection


def delete_file(path: Path) -> None:
    """Delete an empty file whose two locks are held."""
    # The rows first: killed half-way, locks without rows are left, and are cleared away later.
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), *reversed(lock_paths(path))):
        name.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def spool_error(error: Exception, folder: Path) -> DemurError:
    """An error of SQLite or the system met in the spool, as one sentence."""
    said = str(error)
    if isinstance(error, sqlite3.Error) and "disk is full" in said:
        return StorageError(f"no disk space left in the spool {folder}; free some space")
    if isinstance(error, sqlite3.Error):
        return StorageError(f"the spool {folder} cannot be used ({said}); check the folder, its disk and rights")
    return translate_os_error(error, f"writing to the spool {folder}")


def plain(text: str) -> str:
    """The text as SQLite can hold it; the body keeps it as it was."""
    return text.encode("utf-8", "replace").decode()
