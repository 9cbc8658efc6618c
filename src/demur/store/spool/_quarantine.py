"""Rows that no store would take: set aside with the reason, so that nothing waits behind them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from demur.store.spool._codec import Entry
from demur.store.spool._file import Waiting, connect, transaction

NAME = "quarantine.sqlite"
# The pair keeps a row from being set aside twice when a process is killed before it leaves its file.
_TABLE = """CREATE TABLE IF NOT EXISTS rows (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request_id TEXT NOT NULL,
    body TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    UNIQUE (file, number)
)"""


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A row that was set aside; its texts stay in the file."""

    seq: int
    kind: str
    request_id: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the store called bad, and why."""

    row: Waiting
    reason: str


class SetAside:
    """The quarantine file of a spool folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(connect(self.path, "always", _TABLE)) as connection:
            yield connection

    def add(self, file: str, refused: Sequence[Refused]) -> None:
        """Set rows of a file aside, durably; one that is there already is left out."""
        now = time.time()
        with self._open() as connection, transaction(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO rows (file, number, kind, request_id, body, reason, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (file, one.row.seq, entry.kind, entry.request_id, entry.body, one.reason, now)
                    for one in refused
                    for entry in (one.row.entry,)
                ),
            )

    def rows(self) -> list[QuarantinedRow]:
        """What was set aside, in order."""
        if not self.path.exists():
            return []
        with self._open() as connection:
            found = connection.execute(
                "SELECT seq, kind, request_id, reason, at FROM rows ORDER BY seq"
            ).fetchall()
        return [
            QuarantinedRow(seq, kind, request_id, reason, datetime.fromtimestamp(at, UTC))
            for seq, kind, request_id, reason, at in found
        ]

    def count(self) -> int:
        """How many rows were set aside."""
        if not self.path.exists():
            return 0
        with self._open() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM rows").fetchone()[0])

    def entries(self) -> list[tuple[int, Entry]]:
        """The rows themselves by their number."""
        if not self.path.exists():
            return []
        with self._open() as connection:
            found = connection.execute("SELECT seq, kind, request_id, body FROM rows ORDER BY seq").fetchall()
        return [(seq, Entry(*rest)) for seq, *rest in found]

    def remove(self, numbers: Sequence[int]) -> None:
        """Delete rows by their number."""
        with self._open() as connection, transaction(connection):
            connection.executemany("DELETE FROM rows WHERE seq = ?", ((one,) for one in numbers))

    def purge(self, older_than: datetime) -> int:
        """Delete rows that were set aside before a time; how many."""
        if not self.path.exists():
            return 0
        with self._open() as connection, transaction(connection):
            return connection.execute("DELETE FROM rows WHERE at < ?", (older_than.timestamp(),)).rowcount
