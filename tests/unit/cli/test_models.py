"""Tests of `demur models`."""

import json
import re
import shutil

import pytest

from demur.errors import RegistryError
from demur.models import CLASSIFIERS, list_presets


def test_list_names_every_preset(demur):
    outcome = demur("models", "list")
    assert outcome.code == 0
    for name in list_presets():
        assert name in outcome.out


def test_list_as_json_gives_family_and_settings(demur):
    found = {row["model"]: row for row in json.loads(demur("models", "list", "--json").out)}
    assert found["tfidf_nb"] == {"model": "tfidf_nb", "family": "classical", "settings": {"head": "nb"}}


def test_a_family_that_cannot_be_imported_is_named_and_the_others_listed(demur, monkeypatch):
    original = CLASSIFIERS.get

    def get(name):
        if name == "embedding":
            raise RegistryError("the classifier 'embedding' cannot be imported")
        return original(name)

    monkeypatch.setattr(CLASSIFIERS, "get", get)
    outcome = demur("models", "list", "--json")
    assert outcome.code == 0
    assert outcome.err == "demur: left out: the classifier 'embedding' cannot be imported\n"
    assert {row["family"] for row in json.loads(outcome.out)} >= {"rules", "classical"}


def test_list_of_a_run_says_which_was_chosen(demur, finished_run):
    rows = json.loads(demur("models", "list", finished_run, "--json").out)
    assert [row["model"] for row in rows] == ["rules", "tfidf_nb"]
    assert sum(row["chosen"] for row in rows) == 1
    assert "tfidf_nb" in demur("models", "list", finished_run).out


def test_list_of_another_folder_is_refused(demur, tmp_path):
    outcome = demur("models", "list", tmp_path)
    assert outcome.code == 1
    assert "holds no saved models; give a run folder" in outcome.err


def test_show_says_what_a_model_is(demur, finished_run):
    outcome = demur("models", "show", finished_run / "models" / "refusal" / "tfidf_nb")
    assert outcome.code == 0
    assert "refusal: no_refusal, hard_refusal, soft_refusal (reads prompt and response)" in outcome.out
    assert "family classical" in outcome.out


def test_show_as_json_has_the_task_and_the_files(demur, finished_run):
    found = json.loads(demur("models", "show", finished_run / "models" / "refusal" / "rules", "--json").out)
    assert found["family"] == "rules"
    assert found["task"]["name"] == "refusal"
    assert "rules.json" in found["files"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "lacks its file 'rules.json'; restore it or train again"),
        (
            lambda path: path.write_text(path.read_text() + " "),
            "the file 'rules.json' .* was altered after saving",
        ),
    ],
    ids=["missing", "altered"],
)
def test_show_refuses_a_damaged_model(demur, finished_run, tmp_path, harm, said):
    copy = shutil.copytree(finished_run / "models" / "refusal" / "rules", tmp_path / "copy")
    harm(copy / "rules.json")
    outcome = demur("models", "show", copy)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert re.search(said, outcome.err)


def test_show_of_another_folder_is_refused(demur, tmp_path):
    outcome = demur("models", "show", tmp_path)
    assert outcome.code == 1
    assert "is not a saved demur model" in outcome.err


def test_export_refuses_what_is_no_transformer(demur, finished_run):
    outcome = demur("models", "export", finished_run / "models" / "refusal" / "rules", "--data", "starter:desk")
    assert outcome.code == 2
    assert "is of the family 'rules'; only transformers are exported" in outcome.err


def test_a_reference_is_saved_with_the_model_which_stays_the_same(demur, finished_run, tmp_path, write, rows):
    folder = shutil.copytree(finished_run / "models" / "refusal" / "tfidf_nb", tmp_path / "model")
    data = str(write(rows(30), "valid.jsonl"))
    before = json.loads(demur("models", "show", str(folder), "--json").out)
    outcome = demur("models", "reference", str(folder), "--data", data)
    assert outcome.code == 0
    assert "has 30 rows" in outcome.out
    assert "n=30" in outcome.out
    assert json.loads(demur("models", "show", str(folder), "--json").out) == before
    again = json.loads(demur("models", "reference", str(folder), "--data", data, "--json").out)
    assert (again["task"], again["rows"], again["labelled_rows"]) == ("refusal", 30, 30)


def test_a_reference_takes_a_saved_model(demur, tmp_path, write, rows):
    outcome = demur("models", "reference", str(tmp_path), "--data", str(write(rows(5))))
    assert outcome.code == 1
    assert "not a saved demur model" in outcome.err
