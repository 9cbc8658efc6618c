"""Tests of `demur score` as a command; the scoring itself is tested with the models."""

import json
import shutil

import pytest

from demur.data import read_records


@pytest.fixture
def model(finished_run):
    return finished_run / "models" / "refusal" / "rules"


@pytest.fixture
def file(write, rows):
    return write(rows(30))


def test_rows_are_judged_and_written_beside_the_file(demur, file, model, tmp_path):
    outcome = demur("score", file, "-m", model)
    assert outcome.code == 0
    assert outcome.out.startswith("30 rows judged, 0 set aside, in ")
    scored = read_records(tmp_path / "rows.scored.jsonl")
    assert scored.texts("id") == [f"r{number}" for number in range(30)]
    assert {"refusal_label", "refusal_p_hard_refusal"} <= set(scored.frame.columns)


def test_a_run_judges_with_its_winner(demur, file, finished_run):
    assert "refusal: " in demur("score", file, "-m", finished_run).out


def test_json_is_the_summary(demur, file, model):
    found = json.loads(demur("score", file, "-m", model, "-o", "out.csv", "--json").out)
    assert (found["rows"], found["rejected"], found["resumed_rows"], found["out"]) == (30, 0, 0, "out.csv")


def test_columns_are_mapped(demur, model, tmp_path):
    (tmp_path / "a.csv").write_text("question,answer\na,I cannot help with that.\n")
    outcome = demur("score", "a.csv", "-m", model, "-c", "prompt=question", "-c", "response=answer")
    assert outcome.code == 0
    assert "hard_refusal 1" in outcome.out


def test_rows_without_text_are_set_aside_and_said(demur, model, write, rows):
    outcome = demur("score", write([*rows(3), {"prompt": " ", "response": None}]), "-m", model)
    assert outcome.code == 0
    assert "3 rows judged, 1 set aside" in outcome.out
    assert "rows set aside, with reasons: " in outcome.out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.jsonl", None, "there is no file"),
        ("empty.jsonl", b"", "is empty; give a file with at least one row"),
        ("latin.csv", b"prompt,response\ncaf\xe9,b\n", "is not UTF-8 text"),
        ("other.csv", b"question,answer\na,b\n", "no column '"),
        ("half.parquet", b"PAR1 and no end", "is not a sound Parquet file"),
    ],
)
def test_a_bad_file_is_one_sentence(demur, model, tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    outcome = demur("score", name, "-m", model)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert said in outcome.err


def test_a_wrong_mapping_is_one_sentence(demur, file, model):
    outcome = demur("score", file, "-m", model, "-c", "prompt")
    assert outcome.code == 2
    assert "--column takes ours=theirs, such as prompt=question, not 'prompt'" in outcome.err


@pytest.mark.parametrize("name", ["rules.json", "config.json", "demur.json"])
def test_a_model_without_one_of_its_files_is_refused(demur, file, model, tmp_path, name):
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / name).unlink()
    outcome = demur("score", file, "-m", copy)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "rows.scored.jsonl").exists()


def test_an_altered_model_is_refused(demur, file, model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "rules.json").write_text((copy / "rules.json").read_text().replace("sorry", "salut"))
    outcome = demur("score", file, "-m", copy)
    assert outcome.code == 1
    assert "the file 'rules.json' of the model in" in outcome.err


def test_no_model_at_all_is_refused(demur, file, tmp_path):
    outcome = demur("score", file, "-m", tmp_path)
    assert outcome.code == 1
    assert "is neither a saved model" in outcome.err


def test_an_unknown_runtime_is_answered_with_the_known(demur, file, model):
    outcome = demur("score", file, "-m", model, "--runtime", "onx")
    assert outcome.code == 2
    assert "--runtime takes auto, native, onnx or onnx-fp32, not 'onx'" in outcome.err


def test_an_operating_point_that_a_model_lacks_is_one_sentence(demur, file, model):
    outcome = demur("score", file, "-m", model, "--threshold", "fpr_77")
    assert (outcome.code, outcome.out) == (2, "")
    assert "has no operating point" in outcome.err
