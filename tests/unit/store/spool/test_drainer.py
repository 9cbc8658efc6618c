"""Tests of the draining thread: it goes on whatever happens, and waits longer while the database is down."""

import logging
import time

from demur.store import Drainer, Spool, open_store


def wait_for(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_rows_are_drained_soon_after_they_were_put(spool, database, prediction):
    drainer = Drainer(spool, database, every_s=0.02)
    drainer.start()
    for number in range(5):
        spool.put("predictions", [prediction(number)])
    wait_for(lambda: drainer.rows == 5)
    assert drainer.stop()
    assert database.counts()["predictions"] == 5
    assert drainer.last_success is not None


def test_what_was_put_last_is_drained_by_stopping(spool, database, prediction):
    drainer = Drainer(spool, database, every_s=60)
    drainer.start()
    wait_for(lambda: drainer.last_success is not None)
    spool.put("predictions", [prediction(1)])
    assert drainer.stop()
    assert database.counts()["predictions"] == 1


def test_a_drainer_that_was_never_started_stops(spool, database):
    assert Drainer(spool, database).stop()


def test_a_database_that_is_down_is_said_once_and_found_again(spool, tmp_path, prediction, caplog):
    caplog.set_level(logging.INFO, "demur.store")
    (tmp_path / "later").mkdir()
    store = open_store(f"sqlite:///{tmp_path / 'later' / 'demur.db'}")  # without tables until it is migrated
    spool.put("predictions", [prediction(1, prompt="a secret")])
    drainer = Drainer(spool, store, every_s=0.01, longest_wait_s=0.05)
    drainer.start()
    wait_for(lambda: drainer._failures >= 3)
    assert "lacks tables" in drainer.last_error
    store.migrate()
    wait_for(lambda: drainer.rows == 1)
    assert drainer.stop()
    store.close()
    assert caplog.text.count("rows wait in the spool") == 1
    assert "is drained again" in caplog.text
    assert "secret" not in caplog.text


def test_stopping_while_the_database_is_down_says_that_rows_are_left(spool, broken, prediction):
    spool.put("predictions", [prediction(1)])
    drainer = Drainer(spool, broken, every_s=0.01)
    drainer.start()
    assert not drainer.stop()
    assert "does not answer" in drainer.last_error


def test_stopping_does_not_wait_for_ever(database):
    class Slow:
        def drain(self, store):
            time.sleep(1)

    drainer = Drainer(Slow(), database)
    drainer.start()
    assert not drainer.stop(timeout_s=0.01)


def test_an_error_nobody_thought_of_does_not_end_the_thread(database, caplog):
    calls = []

    class Odd:
        def drain(self, store):
            calls.append(1)
            raise RuntimeError("odd")

    drainer = Drainer(Odd(), database, every_s=0.01, longest_wait_s=0.02)
    drainer.start()
    wait_for(lambda: len(calls) >= 3)
    assert not drainer.stop()
    assert drainer.last_error == "RuntimeError"


def test_the_wait_doubles_up_to_its_bound(database, tmp_path):
    drainer = Drainer(Spool(tmp_path), database, every_s=1.0, longest_wait_s=10.0)
    assert drainer._wait_s() == 1.0
    waits = []
    for drainer._failures in (1, 2, 3, 50, 10**6):
        waits.append(drainer._wait_s())
    for wait, middle in zip(waits, (2, 4, 8, 10, 10), strict=True):
        assert 0.75 * middle <= wait <= 1.25 * middle
