"""Tests of the spool as callers see it: what was put is there, once, whoever drains."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from demur.errors import BadRowError, SpoolFullError, StorageError, StoreUnavailableError
from demur.store import PredictionRow, Spool, SpoolConfig, delete_request, open_store
from demur.store.spool import _spool


def test_a_row_that_was_put_is_drained_once(spool, database, prediction):
    spool.put("predictions", [prediction(1), prediction(2)])
    assert spool.drain(database).new == 2
    assert spool.drain(database).rows == 0
    assert database.predictions() == [prediction(1), prediction(2)]


def test_a_spool_makes_no_file_before_something_is_put(tmp_path, database):
    spool = Spool(tmp_path / "none")
    assert spool.drain(database).rows == spool.stats().rows == spool.delete("r") == 0
    spool.put("predictions", [])
    asyncio.run(spool.aput("predictions", []))
    spool.close()
    assert not (tmp_path / "none").exists()


def test_a_row_that_is_refused_is_not_there(spool, prediction):
    with pytest.raises(BadRowError, match="cannot be written as JSON"):
        spool.put("predictions", [prediction(1), prediction(2, prompt=object())])
    assert spool.stats().rows == 0


def test_many_threads_and_coroutines_put_at_once(spool, database, prediction):
    def put(first):
        for number in range(first, first + 25):
            spool.put("predictions", [prediction(number)])

    async def aput():
        await asyncio.gather(*(spool.aput("predictions", [prediction(number)]) for number in range(1000, 1100)))

    threads = [threading.Thread(target=put, args=(first,)) for first in range(0, 200, 25)]
    for one in threads:
        one.start()
    asyncio.run(aput())
    for one in threads:
        one.join()
    assert spool.drain(database).new == 300


def test_rows_may_be_put_while_others_are_drained(spool, database, prediction):
    done = threading.Event()

    def drain():
        while not done.is_set():
            spool.drain(database)

    draining = threading.Thread(target=drain)
    draining.start()
    for number in range(300):
        spool.put("predictions", [prediction(number)])
    done.set()
    draining.join()
    spool.drain(database)
    assert database.counts()["predictions"] == 300


def test_an_event_loop_hears_of_failure(spool, prediction):
    with pytest.raises(BadRowError, match="no zone"):
        asyncio.run(spool.aput("predictions", [prediction(at=datetime(2031, 5, 4))]))  # noqa: DTZ001


def test_a_full_spool_refuses_rows_until_it_is_drained(tmp_path, database, prediction):
    with Spool(tmp_path / "spool", max_bytes=2**17) as spool:
        put = 0

        def fill():
            nonlocal put
            for put in range(1000):
                spool.put("predictions", [prediction(put, prompt="x" * 2000)])

        with pytest.raises(SpoolFullError, match="is full"):
            fill()
        assert 20 < put < 80
        assert spool.stats().bytes <= 2**17
        assert spool.drain(database).new == put
        spool.put("predictions", [prediction(5000)])


def test_the_bound_is_of_the_folder_and_not_of_a_file(tmp_path, prediction):
    with Spool(tmp_path / "spool", max_bytes=2**17) as first, Spool(tmp_path / "spool", max_bytes=2**17) as second:
        first.put("predictions", [prediction(number, prompt="x" * 2000) for number in range(40)])
        with pytest.raises(SpoolFullError, match="is full"):
            second.put("predictions", [prediction(number, prompt="x" * 2000) for number in range(40, 70)])


def test_what_waits_is_counted_with_its_age(spool, database, prediction, monkeypatch):
    assert spool.stats().oldest_age_s is None
    spool.put("predictions", [prediction(number) for number in range(3)])
    with Spool(spool.folder) as other:
        other.put("predictions", [prediction(9)])
        now = time.time()
        monkeypatch.setattr(_spool.time, "time", lambda: now + 100)
        stats = spool.stats()
    assert (stats.rows, stats.files, stats.quarantined) == (4, 2, 0)
    assert 99 < stats.oldest_age_s < 200
    assert stats.bytes > 3 * 4096
    spool.drain(database)
    assert spool.stats().rows == 0


def test_a_deleted_request_is_gone_from_every_file_and_from_quarantine(spool, database, prediction, tmp_path):
    bad = prediction(1, label=None, prompt="telltale")
    spool.put("predictions", [bad, prediction(2)])
    spool.drain(database)
    spool.put("predictions", [prediction(1, prompt="telltale" * 500), prediction(3)])
    with Spool(spool.folder) as other:
        other.put("predictions", [prediction(1, item=1, prompt="telltale")])
        assert spool.delete("r1") == 3
    assert spool.delete("r1") == 0
    left = b"".join(one.read_bytes() for one in spool.folder.iterdir())
    assert b"telltale" not in left
    assert spool.quarantined() == []
    spool.drain(database)
    assert [row.request_id for row in database.predictions()] == ["r2", "r3"]


def test_a_request_is_deleted_everywhere_and_stays_deleted(spool, database, prediction):
    spool.put("predictions", [prediction(1)])
    spool.drain(database)
    spool.put("predictions", [prediction(1, item=1), prediction(2)])
    assert delete_request(database, spool, "r1") == 2
    spool.put("predictions", [prediction(1, item=2)])  # it was being answered meanwhile
    spool.drain(database)
    assert [row.request_id for row in database.predictions()] == ["r2"]
    assert delete_request(database, None, "r2") == 1


def test_an_odd_id_is_deleted_too(spool, prediction):
    spool.put("predictions", [prediction(request_id="a\ud800")])
    assert spool.delete("a\ud800") == 1


def test_rows_set_aside_can_be_put_back_into_line(spool, database, prediction):
    spool.put("predictions", [prediction(1, label=None), prediction(2)])
    spool.drain(database)
    assert [row.request_id for row in spool.quarantined()] == ["r1"]
    assert spool.stats().quarantined == 1
    assert spool.requeue() == 1
    assert spool.quarantined() == []
    assert spool.drain(database).quarantined == 1
    assert spool.purge(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert spool.purge(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert spool.requeue() == 0


def test_what_another_process_left_behind_is_drained(spool, database):
    code = f"""
import os
from demur.store import FeedbackRow, Spool
spool = Spool({str(spool.folder)!r})
spool.put("feedback", [FeedbackRow(id=str(n), request_id="r", task="t", label="x") for n in range(5)])
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    result = spool.drain(database)
    assert (result.new, result.removed_files) == (5, 1)


def test_a_child_process_must_open_its_own(spool, prediction):
    spool.put("predictions", [prediction(1)])

    def child(queue):
        try:
            spool.put("predictions", [prediction(2)])
        except StorageError as error:
            queue.put(str(error))
        spool.close()  # must not give up what is the parent's

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    forked = context.Process(target=child, args=(queue,))
    forked.start()
    assert "was opened in another process" in queue.get(timeout=60)
    forked.join()
    spool.put("predictions", [prediction(3)])
    assert spool.stats().rows == 2


def test_settings_open_a_spool(tmp_path, prediction):
    with SpoolConfig(folder=tmp_path / "s", fsync="always").open() as spool:
        spool.put("predictions", [prediction(1)])
        assert (spool.fsync, spool.max_bytes) == ("always", 2**30)


def test_a_closed_spool_opens_again_when_something_is_put(spool, database, prediction):
    spool.put("predictions", [prediction(1)])
    spool.close()
    spool.close()
    spool.put("predictions", [prediction(2)])
    assert spool.stats().files == 2
    assert spool.drain(database).new == 2


def test_rows_put_while_the_database_is_down_wait(spool, broken, database, prediction):
    spool.put("predictions", [prediction(1)])
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            spool.drain(broken)
        spool.put("predictions", [prediction(2)])
    assert spool.drain(database).new == 2


def test_a_quarantine_that_cannot_be_read_is_said(spool):
    spool.folder.mkdir()
    (spool.folder / "quarantine.sqlite").write_bytes(b"nothing of the kind" * 300)
    with pytest.raises(StorageError, match="cannot be used"):
        spool.stats()
    with pytest.raises(StorageError, match="cannot be used"):
        spool.delete("r")


def test_a_file_that_vanishes_meanwhile_is_passed_over(spool, monkeypatch, tmp_path, database):
    monkeypatch.setattr(Spool, "_files", lambda self: [tmp_path / "gone.spool"])
    assert spool.stats().files == spool.delete("r") == spool.drain(database).rows == 0


class SpoolMachine(RuleBasedStateMachine):
    """Any order of putting, draining, dying between insertion and deletion, deleting and reopening.

    The store and the spool together always hold exactly the acknowledged rows that were not deleted.
    """

    def __init__(self):
        super().__init__()
        import tempfile

        self.place = tempfile.TemporaryDirectory()
        folder = self.place.name
        self.store = open_store(f"sqlite:///{folder}/demur.db")
        self.store.migrate()
        self.spools = [Spool(f"{folder}/spool", "never") for _ in range(2)]
        self.expected, self.deleted, self.next = set(), set(), 0

    def row(self, number):
        return PredictionRow(
            request_id=f"r{number}",
            task="t",
            model="m",
            version="v",
            label="x",
            probabilities={},
            threat_score=0.0,
        )

    @rule(which=st.integers(0, 1), rows=st.integers(1, 5))
    def put(self, which, rows):
        numbers = range(self.next, self.next + rows)
        self.spools[which].put("predictions", [self.row(number) for number in numbers])
        self.next += rows
        self.expected |= {f"r{number}" for number in numbers}

    @precondition(lambda self: self.next)
    @rule(which=st.integers(0, 1), data=st.data())
    def put_again(self, which, data):
        number = data.draw(st.integers(0, self.next - 1))
        self.spools[which].put("predictions", [self.row(number)])

    @rule(which=st.integers(0, 1))
    def drain(self, which):
        self.spools[which].drain(self.store)
        assert {row.request_id for row in self.store.predictions()} == self.expected

    @rule(which=st.integers(0, 1))
    def die_while_draining(self, which):
        patch = pytest.MonkeyPatch()
        patch.setattr("demur.store.spool._drain.remove_between", lambda *_: os.stat("no such file"))
        try:
            self.spools[which].drain(self.store)
        except FileNotFoundError:
            pass
        finally:
            patch.undo()

    @rule(which=st.integers(0, 1))
    def reopen(self, which):
        self.spools[which].close()

    @precondition(lambda self: self.next)
    @rule(which=st.integers(0, 1), data=st.data())
    def delete(self, which, data):
        request = f"r{data.draw(st.integers(0, self.next - 1))}"
        delete_request(self.store, self.spools[which], request)
        self.expected.discard(request)

    @invariant()
    def nothing_is_there_twice(self):
        found = [row.id for row in self.store.predictions()]
        assert len(found) == len(set(found))
        assert {row.request_id for row in self.store.predictions()} <= self.expected

    def teardown(self):
        self.drain(0)
        for one in self.spools:
            one.close()
        self.store.close()
        self.place.cleanup()


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
