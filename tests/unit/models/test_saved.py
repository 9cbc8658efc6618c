"""Tests of finding saved models in a run folder."""

import json
import shutil

import numpy as np
import pytest

from demur.errors import ArtifactError, RunError
from demur.models import _saved, list_saved
from demur.models._saved import load_chosen


@pytest.fixture
def run(tmp_path, fitted, tasks):
    """A run with two models for one task and one for another; a winner each."""
    folder = tmp_path / "run"
    for task, name in (("refusal", "rules"), ("refusal", "tfidf_logreg"), ("jailbreak", "tfidf_nb")):
        fitted(name, tasks[task]).save(folder / "models" / task / name)
    write_winners(folder, {"refusal": "tfidf_logreg", "jailbreak": "tfidf_nb"})
    return folder


def write_winners(folder, winners):
    (folder / "run.json").write_text(json.dumps({"winners": winners}))


def test_all_models_are_listed_and_the_chosen_ones_marked(run):
    assert [(one["task"], one["model"], one["chosen"]) for one in list_saved(run)] == [
        ("jailbreak", "tfidf_nb", True),
        ("refusal", "rules", False),
        ("refusal", "tfidf_logreg", True),
    ]
    assert list_saved(run)[1]["folder"] == str(run / "models" / "refusal" / "rules")


def test_models_of_an_unfinished_run_are_listed_without_a_winner(run):
    (run / "run.json").unlink()
    assert not any(one["chosen"] for one in list_saved(run))


def test_a_folder_without_models_is_told_what_to_give(tmp_path):
    with pytest.raises(RunError, match="holds no saved models; give a run folder such as runs/starter"):
        list_saved(tmp_path)


def test_a_run_gives_the_winner_of_every_task(run, labelled, tasks, fitted):
    chosen = load_chosen(run)
    assert [(one.task.name, one.family) for one in chosen] == [
        ("refusal", "classical"),
        ("jailbreak", "classical"),
    ]
    rows = labelled(tasks["refusal"])
    expected = fitted("tfidf_logreg", tasks["refusal"]).predict_proba(rows)
    np.testing.assert_array_equal(chosen[0].predict_proba(rows), expected)


def test_a_model_folder_gives_that_model(run):
    assert [one.family for one in load_chosen(run / "models" / "refusal" / "rules")] == ["rules"]


@pytest.mark.parametrize(
    ("exported", "asked", "runtime"),
    [
        (False, "auto", "native"),
        (True, "auto", "onnx"),
        (True, "native", "native"),
        (False, "onnx", "onnx"),
        (True, "onnx-fp32", "onnx-fp32"),
    ],
)
@pytest.mark.parametrize("of_run", [True, False])
def test_an_export_is_taken_where_there_is_one_unless_told_otherwise(
    run, monkeypatch, exported, asked, runtime, of_run
):
    write_winners(run, {"refusal": "rules"})
    model = run / "models" / "refusal" / "rules"
    if exported:
        (model / "onnx").mkdir()
    monkeypatch.setattr(_saved, "load", lambda folder, runtime: (folder, runtime))
    assert load_chosen(run if of_run else model, asked) == [(model, runtime)]


def test_a_task_without_a_winner_is_left_out(run):
    write_winners(run, {"refusal": None, "jailbreak": "tfidf_nb"})
    assert [one.task.name for one in load_chosen(run)] == ["jailbreak"]


def test_a_run_that_chose_nothing_says_so(run):
    write_winners(run, {"refusal": None})
    with pytest.raises(RunError, match=r"chose no model .*give one of its models/ folders"):
        load_chosen(run)


def test_a_folder_that_is_neither_says_what_to_give(tmp_path):
    with pytest.raises(ArtifactError, match=r"is neither a saved model .* nor a finished run .*give runs/NAME"):
        load_chosen(tmp_path)


def test_a_winner_whose_folder_is_gone_is_named(run):
    shutil.rmtree(run / "models" / "refusal" / "tfidf_logreg")
    with pytest.raises(ArtifactError, match="tfidf_logreg is not a saved demur model"):
        load_chosen(run)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"other": 1}', '{"winners": ["a"]}', '{"winners": null}']
)
def test_a_damaged_run_file_is_one_sentence(run, text):
    (run / "run.json").write_text(text)
    for use in (list_saved, load_chosen):
        with pytest.raises(RunError, match=r"run\.json .*; run the experiment again"):
            use(run)


def test_a_run_that_has_not_ended_says_so(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "running", "winners": {}}')
    with pytest.raises(
        RunError, match="has not ended and chose no model yet; wait for it, or run its command again"
    ):
        load_chosen(tmp_path)
