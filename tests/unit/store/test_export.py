"""Tests of exports: every row once, typed, whole or not at all, without texts where asked."""

import json
import os
from datetime import timedelta

import polars as pl
import pytest

from demur.errors import StorageError, StoreUnavailableError, UsageError
from demur.store import AuditRow, _export, open_store
from demur.store._tables import TABLES


def test_a_table_comes_out_typed_in_order_of_time(store, prediction, tmp_path, noon):
    store.add_predictions(
        [prediction(2, prompt="what?"), prediction(1, threshold={"fpr_1": 0.5}, is_flagged=True)]
    )
    path = tmp_path / "out" / "predictions.parquet"
    assert store.export(path) == 2
    frame = pl.read_parquet(path)
    assert frame["request_id"].to_list() == ["r1", "r2"]
    assert frame["at"].to_list() == [noon + timedelta(minutes=1), noon + timedelta(minutes=2)]
    assert frame.schema["at"] == pl.Datetime("us", "UTC")
    assert [frame.schema[name] for name in ("item", "is_flagged", "threat_score")] == [
        pl.Int64,
        pl.Boolean,
        pl.Float64,
    ]
    assert json.loads(frame["threshold"][0]) == {"fpr_1": 0.5}
    assert frame["threshold"][1] is None
    assert frame["prompt"].to_list() == [None, "what?"]


def test_a_span_of_time_is_exported(store, prediction, tmp_path, noon):
    store.add_predictions([prediction(number) for number in range(5)])
    path = tmp_path / "some.parquet"
    assert store.export(path, "predictions", noon + timedelta(minutes=1), noon + timedelta(minutes=3)) == 2
    assert pl.read_parquet(path)["request_id"].to_list() == ["r1", "r2"]


def test_texts_may_be_left_out_and_their_columns_stay(store, prediction, feedback, tmp_path):
    store.add_predictions([prediction(prompt="p", response="r")])
    store.add_feedback([feedback(note="n")])
    found = store.export_all(tmp_path, texts=False)
    assert (found["predictions"], found["feedback"]) == (1, 1)
    assert pl.read_parquet(tmp_path / "predictions.parquet")[["prompt", "response"]].row(0) == (None, None)
    assert pl.read_parquet(tmp_path / "feedback.parquet")["note"].to_list() == [None]


def test_every_table_is_exported_empty_ones_too(store, tmp_path):
    store.audit("system", "act", "target", {"a": [1]})
    found = store.export_all(tmp_path)
    assert set(found) == set(TABLES)
    for name, table in TABLES.items():
        frame = pl.read_parquet(tmp_path / f"{name}.parquet")
        assert frame.columns == list(table.columns.keys())
        assert len(frame) == found[name]
    row = pl.read_parquet(tmp_path / "audit.parquet").row(0, named=True)
    assert AuditRow(**(row | {"facts": json.loads(row["facts"])})) == store.audit_log()[0]


def test_many_rows_come_in_batches(store, prediction, tmp_path, monkeypatch):
    monkeypatch.setattr(_export, "BATCH_ROWS", 7)
    store.add_predictions([prediction(number) for number in range(50)])
    assert store.export(tmp_path / "x.parquet") == 50
    assert pl.read_parquet(tmp_path / "x.parquet")["request_id"].to_list() == [
        f"r{number}" for number in range(50)
    ]


def test_the_same_rows_give_the_same_bytes(store, prediction, tmp_path):
    store.add_predictions([prediction(number, probabilities={"b": 0.5, "a": 0.5}) for number in range(20)])
    for name in ("one", "two"):
        store.export(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_table_that_is_none_or_has_no_time_is_refused(store, tmp_path, noon):
    with pytest.raises(UsageError, match="no table 'prediction'; did you mean 'predictions'"):
        store.export(tmp_path / "x", "prediction")
    with pytest.raises(UsageError, match="rows of 'leases' have no time"):
        store.export(tmp_path / "x", "leases", noon)
    assert list(tmp_path.glob("x*")) == []


def test_a_database_that_is_down_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_text("old")
    store = open_store("postgresql://127.0.0.1:1/nothing")
    with store, pytest.raises(StoreUnavailableError, match="does not answer"):
        store.export(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.parquet"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path, url):
    (tmp_path / "file").write_text("x")
    with open_store(url) as store, pytest.raises(StorageError, match="writing"):
        store.export(tmp_path / "file" / "x.parquet")


def test_a_store_is_copied_to_the_other_kind_of_database(store, empty_url, prediction, feedback):
    """Here to a fresh one of the same kind; the next test crosses."""
    rows = [prediction(number, threshold={"a": 0.5} if number % 2 else None) for number in range(30)]
    store.add_predictions(rows)
    store.add_feedback([feedback(1, note="n")])
    store.lease("control", "a", 60)
    store.delete("r29")
    with open_store(empty_url) as target:
        target.migrate()
        done = store.copy_to(target)
        assert (done["predictions"], done["feedback"], done["deletions"]) == (29, 1, 1)
        assert "leases" not in done
        assert target.predictions() == rows[:29]
        assert set(store.copy_to(target).values()) == {0}  # run again it adds nothing


def test_a_file_moves_to_postgresql_and_back(tmp_path, postgres, prediction, noon):
    row = prediction(1, probabilities={"b": 0.25, "a": 0.75}, prompt="\N{SNOWMAN} 'x'", is_flagged=False)
    stores = [
        open_store(one) for one in (f"sqlite:///{tmp_path / 'a.db'}", postgres, f"sqlite:///{tmp_path / 'b.db'}")
    ]
    for one in stores:
        one.migrate()
    stores[0].add_predictions([row])
    stores[0].audit("system", "act", "target", {"n": [1, 2.5, None]})
    stores[0].copy_to(stores[1])
    stores[1].copy_to(stores[2])
    assert stores[2].predictions() == [row]
    assert stores[2].audit_log() == stores[0].audit_log()
    for one in stores:
        one.close()


def test_a_store_is_not_copied_onto_itself(store, url):
    with open_store(url) as same, pytest.raises(UsageError, match="cannot be copied onto itself"):
        store.copy_to(same)
