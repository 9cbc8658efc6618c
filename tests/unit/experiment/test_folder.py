"""Tests of the run folder: where things lie, and what counts as done."""

import json

import pytest

from demur.experiment._folder import RunFolder
from demur.models import CLASSIFIERS, save_classifier
from demur.tasks import BUILT_IN


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def with_model(folder):
    """A run folder with a saved model of key ``k``."""
    save_classifier(CLASSIFIERS.get("rules")(BUILT_IN["refusal"]), folder.model("refusal", "m"), {"key": "k"})
    return folder


def test_things_lie_where_the_readers_of_a_run_look(folder):
    root = folder.root
    assert folder.run_file == root / "run.json"
    assert folder.results_file == root / "experiment_results.json"
    assert folder.csv_file == root / "results.csv"
    assert folder.model("t", "m") == root / "models" / "t" / "m"
    assert folder.trials("t", "m") == root / "search" / "t" / "m.csv"
    curves = folder.curves("t", "m")
    assert (curves.curve, curves.alpha) == (root / "curves/t/m.json", root / "curves/t/alpha_trajectory_m.json")
    assert folder.predictions("t", "m", "test") == root / "predictions" / "t" / "m" / "test.parquet"


def test_a_cell_is_read_back_under_its_key(folder):
    folder.write_cell("t", "m", "k", {"status": "ok"})
    assert folder.read_cell("t", "m", "k") == {"status": "ok"}


def test_a_cell_of_another_key_is_not_read(folder):
    folder.write_cell("t", "m", "k", {"status": "ok"})
    assert folder.read_cell("t", "m", "other") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "other"}', "\udcff"])
def test_a_damaged_cell_counts_as_not_done(folder, content):
    path = folder.cell("t", "m")
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert folder.read_cell("t", "m", "k") is None


def test_a_cell_that_is_not_there_is_not_done(folder):
    assert folder.read_cell("t", "m", "k") is None


def test_a_whole_model_of_the_key_is_there(with_model):
    assert with_model.has_model("refusal", "m", "k")


def test_a_model_of_another_key_is_not(with_model):
    assert not with_model.has_model("refusal", "m", "other")


def test_no_model_is_none(folder):
    assert not folder.has_model("refusal", "m", "k")


@pytest.mark.parametrize("name", ["rules.json", "demur.json"])
def test_a_model_that_lacks_a_file_is_none(with_model, name):
    (with_model.model("refusal", "m") / name).unlink()
    assert not with_model.has_model("refusal", "m", "k")


def test_an_altered_model_is_none(with_model):
    path = with_model.model("refusal", "m") / "rules.json"
    path.write_text(path.read_text().replace("sorry", "SORRY"))
    assert not with_model.has_model("refusal", "m", "k")


def test_a_model_saved_by_hand_has_no_key(folder):
    save_classifier(CLASSIFIERS.get("rules")(BUILT_IN["refusal"]), folder.model("refusal", "m"))
    assert not folder.has_model("refusal", "m", "k")
    manifest = json.loads((folder.model("refusal", "m") / "demur.json").read_text())
    assert manifest["info"] == {}
