"""Tests of draining: rows leave a file only once the store has them, and nothing waits behind a bad one."""

import os
import sqlite3
import time
from contextlib import closing, nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demur.errors import BadRowError, StorageError, StoreError, StoreUnavailableError
from demur.store import Spool, open_store
from demur.store.spool import _drain
from demur.store.spool._codec import Entry, encode
from demur.store.spool._drain import DrainResult, drain_file, remove_stale_locks
from demur.store.spool._file import append, connect, create_file, last_number, lock, lock_paths, transaction
from demur.store.spool._quarantine import SetAside


@pytest.fixture
def dead_file(tmp_path):
    """Maker of a file whose owner has ended, with these entries in it."""

    def make(entries):
        path, handle, connection = create_file(tmp_path / "spool", "interval")
        with transaction(connection):
            append(connection, entries)
        connection.close()
        os.close(handle)
        return path

    return make


def drain(path, store):
    return drain_file(path, store, nullcontext())


def test_results_add_up():
    assert DrainResult(1, 2, 3, 4, 5) + DrainResult(rows=1) == DrainResult(2, 2, 3, 4, 5)


def test_rows_of_every_kind_reach_the_store_and_the_file_of_a_dead_process_goes(
    dead_file, database, prediction, feedback
):
    entries = encode("predictions", [prediction(number) for number in range(3)])
    entries += encode("feedback", [feedback(number) for number in range(2)])
    path = dead_file(entries[::-1])
    assert drain(path, database) == DrainResult(rows=5, new=5, removed_files=1)
    assert database.predictions() == [prediction(number) for number in range(3)]
    assert database.feedback() == [feedback(number) for number in range(2)]
    assert list(path.parent.iterdir()) == []


def test_a_drainer_killed_before_it_deleted_gives_the_rows_again_and_none_is_there_twice(
    dead_file, database, prediction, monkeypatch
):
    path = dead_file(encode("predictions", [prediction(number) for number in range(10)]))

    def killed(*_):
        raise SystemExit("killed")

    monkeypatch.setattr(_drain, "remove_between", killed)
    with pytest.raises(SystemExit, match="killed"):
        drain(path, database)
    monkeypatch.undo()
    assert database.counts()["predictions"] == 10
    assert drain(path, database) == DrainResult(rows=10, new=0, removed_files=1)
    assert database.counts()["predictions"] == 10


def test_more_rows_than_a_batch_go_in_batches(dead_file, database, prediction, monkeypatch):
    monkeypatch.setattr(_drain, "BATCH_ROWS", 7)
    path = dead_file(encode("predictions", [prediction(number) for number in range(50)]))
    assert drain(path, database).rows == 50


@given(bad=st.sets(st.integers(0, 23), max_size=24), batch=st.integers(1, 30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)  # it only makes rows
def test_bad_rows_are_set_aside_and_all_others_are_stored(tmp_path_factory, prediction, bad, batch):
    folder = tmp_path_factory.mktemp("drain")
    rows = [prediction(number, label=None if number in bad else "x") for number in range(24)]
    patch = pytest.MonkeyPatch()
    patch.setattr(_drain, "BATCH_ROWS", batch)
    with (
        open_store(f"sqlite:///{folder / 'demur.db'}") as store,
        Spool(folder / "spool", "never") as spool,
        patch.context(),
    ):
        store.migrate()
        spool.put("predictions", rows)
        result = spool.drain(store)
        assert (result.rows, result.new, result.quarantined) == (24 - len(bad), 24 - len(bad), len(bad))
        assert {row.request_id for row in store.predictions()} == {
            f"r{one}" for one in range(24) if one not in bad
        }
        assert {row.request_id for row in spool.quarantined()} == {f"r{one}" for one in bad}
        assert spool.stats().rows == 0
    patch.undo()


def test_what_no_version_knows_is_set_aside_with_the_reason_and_no_text(dead_file, database, prediction, caplog):
    good = encode("predictions", [prediction(1)])
    path = dead_file([Entry("verdicts", "r7", '{"prompt": "a secret"}'), *good])
    result = drain(path, database)
    assert (result.rows, result.quarantined) == (1, 1)
    (row,) = SetAside(path.parent).rows()
    assert row.request_id == "r7"
    assert "of kind 'verdicts'" in row.reason
    assert "r7" in caplog.text
    assert "secret" not in caplog.text + row.reason


def test_a_bad_row_is_set_aside_by_postgresql_too(dead_file, postgres, prediction):
    """Among them what only PostgreSQL refuses: an id too long for its index."""
    rows = [
        prediction(1),
        prediction(2, label=None),
        prediction(3, request_id=os.urandom(20000).hex()),
        prediction(4),
    ]
    path = dead_file(encode("predictions", rows))
    with open_store(postgres) as store:
        store.migrate()
        result = drain(path, store)
        assert (result.rows, result.quarantined) == (2, 2)
        assert [row.request_id for row in store.predictions()] == ["r1", "r4"]


def test_rows_stay_while_the_database_is_down(dead_file, broken, prediction):
    path = dead_file(encode("predictions", [prediction(1)]))
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        drain(path, broken)
    with closing(connect(path)) as connection:
        assert last_number(connection) == 1
    assert SetAside(path.parent).count() == 0


def test_rows_stay_while_the_store_has_no_tables(dead_file, tmp_path, prediction):
    path = dead_file(encode("predictions", [prediction(1)]))
    with (
        open_store(f"sqlite:///{tmp_path / 'empty.db'}") as store,
        pytest.raises(StoreError, match="lacks tables"),
    ):
        drain(path, store)
    assert SetAside(path.parent).count() == 0


def test_two_drain_different_files_and_never_the_same(dead_file, database, prediction):
    path = dead_file(encode("predictions", [prediction(1)]))
    held = lock(lock_paths(path)[1])
    assert drain(path, database) == DrainResult()
    os.close(held)
    assert drain(path, database).rows == 1


def test_the_file_of_a_living_process_is_drained_and_kept(tmp_path, database, prediction):
    with Spool(tmp_path / "spool") as spool:
        spool.put("predictions", [prediction(1)])
        (path,) = spool._files()
        assert drain(path, database) == DrainResult(rows=1, new=1)
        assert path.exists()
        spool.put("predictions", [prediction(2)])
        assert drain(path, database).rows == 1


def test_a_file_that_is_gone_is_nothing_to_drain(tmp_path, database):
    assert drain(tmp_path / "gone.spool", database) == DrainResult()


def test_a_file_whose_owner_was_killed_at_its_birth_goes(dead_file, database):
    path = dead_file([])
    path.write_bytes(b"")
    assert drain(path, database).removed_files == 1
    assert list(path.parent.iterdir()) == []


def test_a_file_just_being_made_is_left_alone(tmp_path, database):
    path = tmp_path / "new.spool"
    path.write_bytes(b"")
    handle = lock(path.with_suffix(".lock"), create=True)
    path.with_suffix(".drain").touch()
    assert drain(path, database) == DrainResult()
    assert path.exists()
    os.close(handle)


def test_a_file_that_cannot_be_read_is_renamed_and_the_others_go_on(dead_file, database, prediction, caplog):
    path = dead_file(encode("predictions", [prediction(1)]))
    path.write_bytes(b"nothing of the kind" * 300)
    good = dead_file(encode("predictions", [prediction(2)]))
    spool = Spool(path.parent)
    result = spool.drain(database)
    assert (result.rows, result.broken_files) == (1, 1)
    assert not path.exists()
    assert path.with_suffix(".broken").exists()
    assert not good.exists()
    assert "cannot be read" in caplog.text


def test_a_broken_file_of_a_living_process_is_left_to_it(tmp_path, database):
    path = tmp_path / "x.spool"
    path.write_bytes(b"nothing of the kind" * 300)
    path.with_suffix(".drain").touch()
    handle = lock(path.with_suffix(".lock"), create=True)
    assert drain(path, database) == DrainResult()
    assert path.exists()
    os.close(handle)


def test_a_failure_of_the_disk_is_said(dead_file, database, prediction, monkeypatch):
    path = dead_file(encode("predictions", [prediction(1)]))

    def fail(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(_drain, "remove_between", fail)
    with pytest.raises(StorageError, match="disk I/O error"):
        drain(path, database)


def test_locks_without_a_file_go_once_they_are_old(tmp_path):
    old, new, used = tmp_path / "old.lock", tmp_path / "new.lock", tmp_path / "used.drain"
    for one in (old, new, used):
        one.touch()
    (tmp_path / "used.spool").touch()
    for one in (old, used):
        os.utime(one, (time.time() - 3600, time.time() - 3600))
    remove_stale_locks(tmp_path)
    assert [one.exists() for one in (old, new, used)] == [False, True, True]


def test_an_error_that_is_no_fault_of_a_row_sets_none_aside(dead_file, prediction):
    """Only what the store calls a bad row is one."""
    path = dead_file(encode("predictions", [prediction(number) for number in range(4)]))
    calls = []

    class Store:
        def add_predictions(self, rows):
            calls.append(len(rows))
            raise StoreError("of another version") if len(rows) < 3 else BadRowError("bad")

    with pytest.raises(StoreError, match="of another version"):
        drain(path, Store())
    assert calls == [4, 2]
    assert SetAside(path.parent).count() == 0
