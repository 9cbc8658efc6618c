"""Tests of one file of the spool: rows in order under numbers never given twice, and locks of processes."""

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from demur.errors import StorageError
from demur.store.spool._codec import Entry
from demur.store.spool._file import (
    append,
    connect,
    create_file,
    delete_file,
    last_number,
    lock,
    lock_paths,
    plain,
    read,
    remove,
    remove_between,
    shrink,
    spool_error,
    sync_folder,
    transaction,
    used_bytes,
)


def entries(count, size=10):
    return [Entry("feedback", f"r{number}", "x" * size) for number in range(count)]


@pytest.fixture
def made(tmp_path):
    path, handle, connection = create_file(tmp_path / "spool", "interval")
    yield path, connection
    connection.close()
    os.close(handle)


def put(connection, rows):
    with transaction(connection):
        append(connection, rows)


def test_entries_come_back_in_order(made):
    _, connection = made
    put(connection, entries(5))
    found = read(connection, 0, 100, 10**6)
    assert [one.entry for one in found] == entries(5)
    assert [one.seq for one in found] == [1, 2, 3, 4, 5]
    assert [one.seq for one in read(connection, 2, 2, 10**6)] == [3, 4]
    assert last_number(connection) == 5


def test_a_read_is_bounded_in_bytes_but_gives_at_least_one(made):
    _, connection = made
    put(connection, entries(5, size=100))
    assert len(read(connection, 0, 100, 250)) == 2
    assert len(read(connection, 0, 100, 1)) == 1


def test_a_number_is_never_given_twice(made):
    """Else a drainer that read number 2 would delete a later row that had taken its number."""
    _, connection = made
    put(connection, entries(2))
    remove(connection, [1, 2])
    put(connection, entries(1))
    assert last_number(connection) == 3
    remove_between(connection, 1, 2)
    assert last_number(connection) == 3


def test_a_transaction_that_fails_leaves_nothing(made):
    _, connection = made

    def fail():
        with transaction(connection):
            append(connection, entries(3))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert last_number(connection) == 0
    put(connection, entries(1))
    assert len(read(connection, 0, 10, 100)) == 1


def test_only_the_owner_may_read_it_and_writing_is_ahead(made):
    path, connection = made
    put(connection, entries(1))
    for one in path.parent.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o600, one.name
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(("fsync", "number"), [("never", 0), ("interval", 1), ("always", 2)])
def test_each_setting_of_fsync_is_one_of_sqlite(tmp_path, fsync, number):
    _, handle, connection = create_file(tmp_path, fsync)
    assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
    connection.close()
    os.close(handle)


def test_a_file_is_never_made_by_accident(tmp_path):
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connect(tmp_path / "x.spool")
    assert list(tmp_path.iterdir()) == []


def test_deleted_rows_are_not_left_in_the_file(made):
    path, connection = made
    put(connection, [Entry("feedback", "r", "telltale" * 1000)])
    remove(connection, [1])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert b"telltale" not in b"".join(one.read_bytes() for one in path.parent.iterdir())


def test_bytes_in_use_grow_and_fall_and_the_file_shrinks(made):
    path, connection = made
    empty = used_bytes(connection)
    put(connection, entries(3000, size=1000))
    assert used_bytes(connection) > 3_000_000
    remove_between(connection, 1, 3000)
    assert used_bytes(connection) <= empty + 2 * 4096
    shrink(connection, keep_pages=10)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert path.stat().st_size < 100_000


def test_a_lock_is_held_once_and_freed_by_the_death_of_its_process(tmp_path):
    path = tmp_path / "x.lock"
    assert lock(path) is None  # not there
    code = f"""
import sys, time
from pathlib import Path
from demur.store.spool._file import lock
assert lock(Path({str(path)!r}), create=True) is not None
print("locked", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        assert lock(path) is None
        other.kill()
    handle = lock(path)
    assert handle is not None
    assert lock(path) is None
    os.close(handle)


def test_the_locks_of_a_file_bear_its_name(tmp_path):
    assert [one.name for one in lock_paths(tmp_path / "a.spool")] == ["a.lock", "a.drain"]


def test_a_deleted_file_leaves_nothing(made):
    path, connection = made
    put(connection, entries(1))
    delete_file(path)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="writing to the spool"):
        create_file(tmp_path / "file" / "spool", "interval")
    sync_folder(tmp_path)


def test_each_failure_is_one_sentence(tmp_path):
    full = spool_error(sqlite3.OperationalError("database or disk is full"), tmp_path)
    assert "no disk space left in the spool" in str(full)
    assert "cannot be used (disk I/O error)" in str(
        spool_error(sqlite3.OperationalError("disk I/O error"), tmp_path)
    )
    assert "permission denied" in str(spool_error(OSError(errno.EACCES, "no"), tmp_path))


def test_an_id_that_is_not_utf8_is_found_again_as_it_was_written():
    assert plain("a\ud800b") == "a?b"
    assert plain("é") == "é"


def test_a_connection_that_cannot_be_set_up_is_closed(tmp_path):
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        connect(tmp_path / "x.spool", create="nonsense")
    with closing(connect(tmp_path / "x.spool")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,)
