"""Tests of retention: deletion by request that stays deleted, deletion by age in small transactions."""

import sqlite3
import threading
from datetime import timedelta

import pytest

from demur.errors import UsageError
from demur.store import open_store


def test_counts_are_of_every_table(store, prediction):
    store.add_predictions([prediction(1), prediction(2)])
    counts = store.counts()
    assert counts["predictions"] == 2
    assert sum(counts.values()) == 2
    assert len(counts) == 15


def test_a_deleted_request_is_gone_with_its_feedback_and_others_are_not(store, prediction, feedback):
    store.add_predictions([prediction(1), prediction(1, item=1), prediction(1, task="jailbreak"), prediction(2)])
    store.add_feedback([feedback(1), feedback(2)])
    assert store.delete("r1") == 4
    assert [row.request_id for row in store.predictions()] == ["r2"]
    assert [row.request_id for row in store.feedback()] == ["r2"]
    assert store.delete("r1") == store.delete("never seen") == 0


def test_what_of_a_deleted_request_comes_later_is_not_stored(store, prediction, feedback):
    store.delete("r1")
    assert store.add_predictions([prediction(1), prediction(2)]) == 1
    assert store.add_feedback([feedback(1)]) == 0


def test_a_deletion_that_races_with_insertion_wins(url, prediction):
    """Whichever is first, nothing of the request is left."""
    with open_store(url) as first, open_store(url) as second:
        first.migrate()
        for number in range(30):
            rows = [prediction(number, item=item) for item in range(20)]
            adding = threading.Thread(target=second.add_predictions, args=(rows,))
            adding.start()
            first.delete(f"r{number}")
            adding.join()
        assert first.predictions() == []


def test_deleted_texts_are_not_left_in_the_file(tmp_path, prediction):
    path = tmp_path / "demur.db"
    with open_store(f"sqlite:///{path}") as store:
        store.migrate()
        store.add_predictions([prediction(1, prompt="a telltale word" * 50), prediction(2, prompt="harmless")])
        store.delete("r1")
        left = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert b"telltale" not in left
    assert b"harmless" in left


@pytest.mark.parametrize("way", ["purge", "purge_texts"])
def test_nor_are_texts_that_were_deleted_by_age(tmp_path, prediction, noon, way):
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as store:
        store.migrate()
        store.add_predictions([prediction(1, prompt="a telltale word" * 50)])
        getattr(store, way)(noon + timedelta(days=1))
        assert b"telltale" not in b"".join(one.read_bytes() for one in tmp_path.iterdir())


def test_a_deletion_does_not_wait_long_for_somebody_who_reads(tmp_path, prediction):
    """The log keeps the text then, until the next time."""
    path = tmp_path / "demur.db"
    with open_store(f"sqlite:///{path}") as store:
        store.migrate()
        store.add_predictions([prediction(1)])
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT COUNT(*) FROM demur_predictions").fetchone() == (1,)
        assert store.delete("r1") == 1
        reader.close()
        with store._read() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 15000


def test_rows_are_deleted_by_age_in_batches(store, prediction, feedback, noon):
    store.add_predictions([prediction(number) for number in range(25)])
    store.add_feedback([feedback(number) for number in range(25)])
    store.audit("system", "act", "target")
    done = store.purge(noon + timedelta(minutes=20), batch_rows=7)
    assert done == {"predictions": 20, "feedback": 20, "deletions": 0, "input_samples": 0, "traffic": 0}
    assert [row.request_id for row in store.predictions()] == [f"r{number}" for number in range(20, 25)]
    assert store.counts()["audit"] == 1
    assert store.purge(noon + timedelta(minutes=20))["predictions"] == 0


def test_other_tables_are_purged_where_they_are_named(store, noon):
    store.audit("system", "act", "target")
    assert store.purge(noon + timedelta(days=90000), ["audit"]) == {"audit": 1}
    with pytest.raises(UsageError, match="'audits' is no table to purge; did you mean 'audit'"):
        store.purge(noon, ["audits"])
    with pytest.raises(UsageError, match="'keys' is no table to purge"):
        store.purge(noon, ["keys"])


def test_texts_are_deleted_by_age_and_answers_kept(store, prediction, feedback, noon):
    store.add_predictions([prediction(number, prompt="p", response="r") for number in range(5)])
    store.add_feedback([feedback(number, note="n") for number in range(5)])
    assert store.purge_texts(noon + timedelta(minutes=3), batch_rows=2) == 6
    assert [row.prompt for row in store.predictions()] == [None] * 3 + ["p"] * 2
    assert [row.response for row in store.predictions()] == [None] * 3 + ["r"] * 2
    assert [row.note for row in store.feedback()] == [None] * 3 + ["n"] * 2
    assert store.purge_texts(noon + timedelta(minutes=3)) == 0


def test_deletion_by_age_lets_others_write_between_batches(tmp_path, prediction, noon):
    """The lock of a writer is free again after each batch."""
    path = tmp_path / "demur.db"
    with open_store(f"sqlite:///{path}") as store:
        store.migrate()
        store.add_predictions([prediction(number) for number in range(100)])
        other = sqlite3.connect(path, timeout=30)
        purging = threading.Thread(target=store.purge, args=(noon + timedelta(days=9),), kwargs={"batch_rows": 1})
        purging.start()
        with other:
            other.execute("UPDATE demur_predictions SET model = 'x' WHERE id = 'r99/0/refusal/'")
        other.close()
        purging.join()
        assert store.predictions() == []
