from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import make_rows, write_rows
from tests.retraining import answer

from demur.errors import ArtifactError, DataError, LeakError
from demur.serve.retrain._compare import _columns, _shared_point, compare
from demur.serve.retrain._gather import gather
from demur.serve.retrain._train import train
from demur.tasks import REFUSAL


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    """Orders of an honest and of a poisoned retraining that are to be compared; made once."""
    from datetime import timedelta

    from tests.retraining import NOON, TASK

    from demur.config import parse_settings
    from demur.serve.retrain import Order, TaskConfig
    from demur.store import open_store

    orders = {}
    for name in ("honest", "poisoned"):
        folder = tmp_path_factory.mktemp(name)
        url = f"sqlite:///{folder / 'demur.db'}"
        order = Order(
            id=name,
            work="comparing",
            task=TASK,
            folder=folder / "runs" / name,
            models=folder / "models",
            settings=parse_settings(TaskConfig, world.settings()),
            database=url,
            at=NOON + timedelta(days=1),
            champion=str(world.champion),
            champion_version=world.row().version,
        )
        with open_store(url) as store:
            store.migrate()
            answer(store, make_rows(50, first=1000))
            for more in range(8 if name == "honest" else 0):
                answer(store, make_rows(50, first=2000 + more * 50), key=f"user{more}")
            for evil in range(4 if name == "poisoned" else 0):
                answer(store, make_rows(120, first=6000 + evil * 120), key=f"evil{evil}", flip=True)
        order.files.write_result("gathering", gather(order))
        order.files.write_result("training", train(order))
        orders[name] = order
    return orders


def test_an_honest_challenger_is_accepted(made):
    found = compare(made["honest"])
    assert found["gate"]["is_accepted"], found["gate"]["reasons"]
    assert found["champion"] == made["honest"].champion_version
    assert found["challenger"]["name"] == "tfidf_nb-honest"
    assert found["threat_labels"] == list(REFUSAL.threat_labels)
    assert found["rows"]["golden"] == 240
    assert {one["set"] for one in found["gate"]["slices"]} == {"golden", "recent"}


def test_rows_with_feedback_are_no_reference_of_the_traffic(made):
    """Who speaks up speaks up about doubtful answers; the monitor waits for the first answers instead."""
    found = compare(made["honest"])
    assert found["rows"]["recent"] >= 100
    assert not (Path(found["challenger"]["folder"]) / "monitor").exists()


def test_a_challenger_that_learned_flipped_labels_is_refused(made):
    """The recent rows, flipped too, speak for it; the golden set does not."""
    found = compare(made["poisoned"])
    gate = found["gate"]
    recent = next(one for one in gate["slices"] if (one["set"], one["name"]) == ("recent", "all"))
    assert recent["accuracy_challenger"] > recent["accuracy_champion"] + 0.3
    assert not gate["is_accepted"]
    assert gate["reasons"][0].startswith("its security score on the golden set is")
    assert "it is worse on golden/" in gate["reasons"][1]


def test_a_golden_set_that_was_changed_meanwhile_ends_it(made, world, tmp_path):
    order = made["honest"]
    other = write_rows(tmp_path / "golden.jsonl", make_rows(240, first=9000))
    settings = order.settings.model_copy(update={"golden": str(other)})
    with pytest.raises(DataError, match="was changed"):
        compare(replace(order, settings=settings))


def test_training_rows_that_stand_in_the_golden_set_end_it(made, tmp_path):
    """Whoever writes them into the file of training rows and its hash too is found by the check itself."""
    import shutil

    from demur.data import Records, read_records, write_records
    from demur.paths import hash_file

    order = replace(made["honest"], folder=tmp_path / "r")
    shutil.copytree(made["honest"].folder, order.folder)
    golden = read_records(order.files.golden)
    write_records(Records.concat([read_records(order.files.train), golden.take([3])]), order.files.train)
    facts = order.files.result("gathering")
    facts["hashes"]["train.parquet"] = hash_file(order.files.train)
    order.files.write_result("gathering", facts)
    with pytest.raises(LeakError, match="1 training rows stand in the golden set"):
        compare(order)


def test_a_champion_that_cannot_be_loaded_ends_it(made, tmp_path):
    with pytest.raises(ArtifactError, match="is not a saved demur model"):
        compare(replace(made["honest"], champion=str(tmp_path)))


def test_a_champion_of_other_labels_ends_it(made, risk_folder):
    with pytest.raises(ArtifactError, match="the champion answers benign, suspicious, malicious"):
        compare(replace(made["honest"], champion=str(risk_folder)))


class Model:
    """A model with operating points."""

    def __init__(self, *names):
        from types import SimpleNamespace

        points = [SimpleNamespace(name=one, threshold=SimpleNamespace(value=0.5)) for one in names]
        self.operating = SimpleNamespace(points=points) if names else None


@pytest.mark.parametrize(
    ("champion", "challenger", "wanted", "point", "is_refused"),
    [
        (("fpr_1", "fpr_5"), ("fpr_1", "fpr_5"), None, "fpr_1", False),
        (("fpr_1", "fpr_5"), ("fpr_1", "fpr_5"), "fpr_5", "fpr_5", False),
        (("fpr_1",), ("fpr_5",), None, None, True),
        (("fpr_1",), (), None, None, True),
        ((), ("fpr_1",), None, None, False),
        (("fpr_1",), ("fpr_1",), "unknown", "fpr_1", False),
    ],
)
def test_both_are_guarded_at_the_point_that_is_served(champion, challenger, wanted, point, is_refused):
    found, reasons = _shared_point({"champion": Model(*champion), "challenger": Model(*challenger)}, wanted)
    assert found == point
    assert bool(reasons) == is_refused


def test_slices_are_cut_by_plain_columns_and_by_length(small_records):
    rows = small_records.with_column("product", ["shop"] * 60).with_column("nested", [[1]] * 60)
    found = _columns("golden", rows, REFUSAL)
    assert found["product"] == ["shop"] * 60
    assert set(found["length"]) == {"short"}
    assert {"prompt", "response", "group", "refusal", "nested", "id"}.isdisjoint(found)
    assert "source" not in _columns("recent", rows, REFUSAL)
