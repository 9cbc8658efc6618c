"""Draining: rows go from a spool file into the store, and leave the file only then.

Killed between both, the next drainer gives the same rows again, and the store takes none twice.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import BadRowError
from demur.store.spool._codec import decode, inserter
from demur.store.spool._file import (
    SUFFIX,
    Waiting,
    connect,
    delete_file,
    last_number,
    lock,
    lock_paths,
    read,
    remove_between,
    shrink,
    spool_error,
)
from demur.store.spool._quarantine import Refused, SetAside

if TYPE_CHECKING:
    from demur.store._store import Store

BATCH_ROWS, BATCH_BYTES = 1000, 4 * 2**20
_STALE_S = 60.0
_BROKEN = ("malformed", "not a database", "file is encrypted")
_LOG = logging.getLogger("demur.store")


@dataclass(frozen=True, slots=True)
class DrainResult:
    """What one draining did."""

    rows: int = 0
    """Rows that left the spool for the store, those among them that were there already or deleted included."""
    new: int = 0
    """Rows that were not there before."""
    quarantined: int = 0
    removed_files: int = 0
    """Files of ended processes that were empty and went."""
    broken_files: int = 0
    """Files that could not be read; each was renamed to end in ``.broken``."""

    def __add__(self, other: DrainResult) -> DrainResult:
        return DrainResult(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def drain_file(path: Path, store: Store, guard: AbstractContextManager[Any]) -> DrainResult:
    """Move into the store what waits in a file by now; nothing where another process is at it.

    Parameters
    ----------
    guard
        Held while rows are deleted from the file.

    Raises
    ------
    StoreError
        The store takes nothing now; the rows stay.
    """
    owner, drain = lock_paths(path)
    held = lock(drain)
    if held is None:
        return DrainResult()
    try:
        result = _move(path, store, guard)
        return result + _remove_orphan(path, owner)
    except sqlite3.Error as error:
        if not path.exists():
            return DrainResult()
        if any(words in str(error) for words in _BROKEN):
            return _put_aside(path, owner)
        if "no such table" in str(error):  # its owner was killed, or is just beginning
            return _remove_orphan(path, owner)
        raise spool_error(error, path.parent) from error
    finally:
        os.close(held)


def _move(path: Path, store: Store, guard: AbstractContextManager[Any]) -> DrainResult:
    result = DrainResult()
    with closing(connect(path)) as connection:
        after, end = 0, last_number(connection)
        while after < end:
            batch = read(connection, after, BATCH_ROWS, BATCH_BYTES)
            if not batch:
                break
            after = batch[-1].seq
            bad: list[Refused] = []
            for kind in dict.fromkeys(one.entry.kind for one in batch):
                result += _insert(store, [one for one in batch if one.entry.kind == kind], bad)
            if bad:
                SetAside(path.parent).add(path.name, bad)
            with guard:
                remove_between(connection, batch[0].seq, after)
        if result.rows:
            with guard:
                shrink(connection)
    return result


def _insert(store: Store, batch: Sequence[Waiting], bad: list[Refused]) -> DrainResult:
    """Insert rows of one kind; where some are bad, halve until they are found, and add them to ``bad``."""
    try:
        new = inserter(batch[0].entry.kind, store)([decode(one.entry) for one in batch])
        return DrainResult(rows=len(batch), new=new)
    except BadRowError as error:
        if len(batch) == 1:
            bad.append(Refused(batch[0], str(error)))
            _LOG.warning("a row of request %s is set aside: %s", batch[0].entry.request_id, error)
            return DrainResult(quarantined=1)
    half = len(batch) // 2
    return _insert(store, batch[:half], bad) + _insert(store, batch[half:], bad)


def _remove_orphan(path: Path, owner: Path) -> DrainResult:
    """Delete the file if its owner has ended and nothing waits in it."""
    held = lock(owner)
    if held is None:
        return DrainResult()
    try:
        try:
            with closing(connect(path)) as connection:
                is_empty = last_number(connection) == 0
        except sqlite3.OperationalError as error:
            is_empty = "no such table" in str(error)
        if not is_empty:
            return DrainResult()
        delete_file(path)
        return DrainResult(removed_files=1)
    finally:
        os.close(held)


def _put_aside(path: Path, owner: Path) -> DrainResult:
    """Rename a file that SQLite cannot read, once its owner has ended."""
    held = lock(owner)
    if held is None:
        return DrainResult()
    try:
        _LOG.error("the spool file %s cannot be read and was renamed to end in .broken", path)
        path.rename(path.with_suffix(".broken"))
        return DrainResult(broken_files=1)
    finally:
        os.close(held)


def remove_stale_locks(folder: Path) -> None:
    """Delete locks whose file is gone: their process was killed while it made or deleted it."""
    for one in [*folder.glob("*.lock"), *folder.glob("*.drain")]:
        try:
            is_stale = not one.with_suffix(SUFFIX).exists() and time.time() - one.stat().st_mtime > _STALE_S
        except FileNotFoundError:
            continue
        held = lock(one) if is_stale else None
        if held is not None:
            one.unlink(missing_ok=True)
            os.close(held)
