"""Tests of the writer: many callers share a commit, and each is told how its own rows fared."""

import asyncio
import os
import shutil
import sqlite3
import threading
from concurrent.futures import wait

import pytest

from demur.errors import SpoolFullError, StorageError
from demur.store.spool._codec import Entry
from demur.store.spool._file import last_number, lock, lock_paths
from demur.store.spool._writer import Ticket, Writer, tell

ROOM = 2**30


def ticket(size=10, rows=1):
    return Ticket([Entry("feedback", "r", "x" * size) for _ in range(rows)])


@pytest.fixture
def make(tmp_path):
    made = []

    def build(room=lambda: ROOM, fsync="interval", interval_s=1.0):
        made.append(Writer(tmp_path / "spool", fsync, interval_s, room))
        return made[-1]

    yield build
    for one in made:
        one.close()


class Counting:
    """A connection that counts its commits, and may fail."""

    def __init__(self, connection):
        self.connection, self.commits, self.fails = connection, 0, None

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, statement, *values):
        if statement == "COMMIT":
            self.commits += 1
            if self.fails:
                raise sqlite3.OperationalError(self.fails)
        return self.connection.execute(statement, *values)


def rows_in(writer):
    return last_number(writer._connection)


def test_rows_are_on_disk_when_the_ticket_says_so(make):
    writer = make()
    one = ticket(rows=3)
    writer.put(one)
    assert one.done.result(20) is None
    with sqlite3.connect(writer.path) as other:
        assert other.execute("SELECT COUNT(*) FROM rows").fetchone() == (3,)
    other.close()


def test_those_who_wait_share_a_commit(make):
    writer = make()
    writer._connection = counting = Counting(writer._connection)
    tickets = [ticket() for _ in range(50)]
    with writer.guard:  # the writer stands at its first commit while the others come
        for one in tickets:
            writer.put(one)
    wait([one.done for one in tickets], 20)
    assert rows_in(writer) == 50
    assert counting.commits <= 2


def test_a_commit_that_fails_is_told_to_all_of_it_and_the_next_goes_well(make):
    writer = make()
    counting = writer._connection = Counting(writer._connection)
    counting.fails = "database or disk is full"
    failing = [ticket(), ticket()]
    with writer.guard:
        for one in failing:
            writer.put(one)
    for one in failing:
        with pytest.raises(StorageError, match="no disk space left"):
            one.done.result(20)
    assert rows_in(writer) == 0
    counting.fails = None
    again = ticket()
    writer.put(again)
    again.done.result(20)
    assert rows_in(writer) == 1


def test_what_finds_no_room_is_refused_and_smaller_rows_still_go(make):
    writer = make(room=lambda: 60_000)
    big, small = ticket(size=100_000), ticket()
    with writer.guard:
        writer.put(big)
        writer.put(small)
    small.done.result(20)
    with pytest.raises(SpoolFullError, match=r"is full; see why the database takes no rows"):
        big.done.result(20)
    assert rows_in(writer) == 1


def test_an_event_loop_is_told_in_its_own_thread(make):
    writer = make()

    async def main():
        loop = asyncio.get_running_loop()
        waiters = [loop.create_future() for _ in range(20)]
        for one in waiters:
            writer.put(Ticket(ticket().entries, loop, one))
        waiters[3].cancel()  # its caller gave up
        return await asyncio.gather(*waiters, return_exceptions=True)

    found = asyncio.run(main())
    assert [one for one in found if one is not None] == [found[3]]
    assert isinstance(found[3], asyncio.CancelledError)
    assert rows_in(writer) == 20


def test_an_event_loop_is_told_of_failure():
    async def main():
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        tell([Ticket([], loop, waiter)], StorageError("no"))
        with pytest.raises(StorageError, match="no"):
            await waiter

    asyncio.run(main())


def test_a_loop_that_was_closed_does_not_stop_the_others():
    loop = asyncio.new_event_loop()
    waiter = loop.create_future()
    loop.close()
    other = ticket()
    tell([Ticket([], loop, waiter), other], None)
    assert other.done.result(1) is None


def test_closing_commits_what_was_put(make, tmp_path):
    writer = make()
    tickets = [ticket() for _ in range(30)]
    for one in tickets:
        writer.put(one)
    writer.close()
    assert all(one.done.result(0) is None for one in tickets)
    with sqlite3.connect(writer.path) as other:
        assert other.execute("SELECT COUNT(*) FROM rows").fetchone() == (30,)
    other.close()
    handle = lock(lock_paths(writer.path)[0])  # given up
    assert handle is not None
    os.close(handle)


def test_closing_an_empty_file_deletes_it(make):
    writer = make()
    writer.close()
    assert list(writer.path.parent.iterdir()) == []


def test_rows_put_after_closing_are_refused(make):
    writer = make()
    late = ticket()
    writer.put(None)
    writer.put(late)
    writer._thread.join()
    writer._refuse_rest()
    with pytest.raises(StorageError, match="was closed before"):
        late.done.result(0)


def test_between_two_syncs_no_more_passes_than_was_asked(make, monkeypatch):
    """The write-ahead log is forced to the disk by the interval, also when nothing more comes."""
    synced, done = [], threading.Event()
    real = os.fsync

    def fsync(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)
        done.set()

    writer = make(interval_s=0.05)
    monkeypatch.setattr(os, "fsync", fsync)
    assert writer._until_sync() is None
    one = ticket()
    writer.put(one)
    one.done.result(20)
    assert done.wait(20)
    assert synced == [f"{writer.path}-wal"]


@pytest.mark.parametrize("fsync", ["always", "never"])
def test_other_settings_ask_for_no_sync_of_ours(make, fsync):
    writer = make(fsync=fsync)
    one = ticket()
    writer.put(one)
    one.done.result(20)
    assert writer._until_sync() is None


def test_a_sync_that_fails_is_logged(make, caplog):
    writer = make(interval_s=60)
    writer._unsynced_since = 0.0
    path, writer.path = writer.path, writer.path.with_name("gone.spool")
    writer._sync()
    writer.path = path
    assert "may not survive a loss of power" in caplog.text


def test_a_folder_that_was_cleared_away_is_made_again(make, caplog):
    writer = make()
    before = writer.path
    one = ticket()
    writer.put(one)
    one.done.result(20)
    shutil.rmtree(before.parent)
    again = ticket()
    writer.put(again)
    again.done.result(20)
    assert writer.path != before
    assert rows_in(writer) == 1
    assert "another is begun" in caplog.text


@pytest.mark.parametrize(("wanted", "size"), [(3.0, 3), (0.0, 1)])
def test_a_commit_waits_a_little_for_those_who_came_together_before(make, monkeypatch, wanted, size):
    writer = make()
    writer.put(None)
    writer._thread.join()
    monkeypatch.setattr("demur.store.spool._writer._LONGEST_PATIENCE_S", 60.0)
    writer._wanted, writer._commit_s = wanted, 1000.0
    coming = threading.Timer(0.05, lambda: [writer.put(ticket()) for _ in range(2)])
    coming.start()
    is_open, group = writer._gather(ticket())
    coming.join()
    assert is_open
    assert len(group) == size


def test_a_commit_does_not_wait_for_those_who_never_come(make):
    writer = make()
    writer._wanted, writer._commit_s = 1000.0, 1000.0
    one = ticket()
    writer.put(one)
    assert one.done.result(20) is None


def test_closing_is_heard_while_a_commit_waits_for_others(make):
    writer = make()
    writer.put(None)
    writer._thread.join()
    writer._wanted, writer._commit_s = 1000.0, 1000.0
    writer.put(None)
    is_open, group = writer._gather(ticket())
    assert (is_open, len(group)) == (False, 1)
