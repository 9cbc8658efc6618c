"""Tests of the files that say how a model was trained."""

import json

import pytest

from demur.experiment._folder import RunFolder
from demur.models import CLASSIFIERS
from demur.tasks import BUILT_IN
from demur.training import TrainResult


@pytest.fixture
def files(tmp_path):
    return RunFolder(tmp_path).curves("refusal", "net")


@pytest.fixture
def classifier():
    """A classifier as a torch family leaves it."""
    one = CLASSIFIERS.get("rules")(BUILT_IN["refusal"], seed=3)
    history = [{"epoch": 1.0, "loss": 0.9, "score": 0.4}, {"epoch": 2.0, "loss": 0.5, "score": 0.6}]
    one.training = TrainResult(epochs=2.0, steps=20, best_epoch=2.0, history=history, seconds=1.5)
    return one


def test_a_learning_curve_is_written_with_the_epoch_that_was_kept(files, classifier, tmp_path):
    files.write(classifier, "net")
    found = json.loads((tmp_path / "curves" / "refusal" / "net.json").read_text())
    assert (found["task"], found["model"], found["seed"], found["best_epoch"]) == ("refusal", "net", 3, 2.0)
    assert [row["loss"] for row in found["history"]] == [0.9, 0.5]


def test_class_weights_that_moved_have_a_file_of_their_own(files, classifier, tmp_path):
    classifier.alpha_trajectory = {"initial": [1, 1], "final": [1, 1.2]}
    files.write(classifier, "net")
    path = tmp_path / "curves" / "refusal" / "alpha_trajectory_net.json"
    assert json.loads(path.read_text()) == {"initial": [1, 1], "final": [1, 1.2]}


def test_a_family_without_epochs_leaves_no_file_and_removes_an_earlier_ones(files, classifier, tmp_path):
    files.write(classifier, "net")
    classifier.training = None
    files.write(classifier, "net")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
