"""Tests of `demur compare` as a command; the tests between models are those of `demur.analysis`."""

import json

import numpy as np
import polars as pl
import pytest

from demur.tasks import REFUSAL


def write_run(folder, skills, data_hash="ab" * 32):
    """A run folder of simulated models, each on the same 90 rows in 30 groups."""
    y = np.random.default_rng(0).choice(3, 90)
    for place, (name, skill) in enumerate(skills.items()):
        logits = np.random.default_rng(place + 1).normal(size=(90, 3))
        logits[np.arange(90), y] += skill
        proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        columns = {"id": [f"r{row}" for row in range(90)], "group": [f"g{row // 3}" for row in range(90)]}
        columns |= {"fold": [str(row // 3 % 4 + 1) for row in range(90)], "y": y}
        for protocol in ("test", "cv"):
            path = folder / "predictions" / "refusal" / name / f"{protocol}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame(columns | {f"p_{c}": proba[:, c] for c in range(3)}).write_parquet(path)
    models = [{"model": name, "status": "ok"} for name in skills]
    task = {"task": REFUSAL.model_dump(mode="json"), "models": models, "winner": list(skills)[-1]}
    results = {"tasks": {"refusal": task | {"data": {"hash": data_hash}}}}
    (folder / "experiment_results.json").write_text(json.dumps(results))
    (folder / "run.json").write_text(json.dumps({"config": {"draws": 100}}))
    return folder


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", {"rules": 0.5, "good": 1.5, "best": 4.0})


def test_a_table_is_printed_for_each_protocol(demur, run):
    outcome = demur("compare", run)
    assert outcome.code == 0
    assert "Refusal · test split, n = 90 rows in 30 groups" in outcome.out
    assert "Refusal · grouped cross-validation" in outcome.out
    assert "would mostly go unseen" in outcome.out


def test_json_holds_every_test(demur, run):
    found = json.loads(demur("compare", run, "-p", "cv", "--metric", "f1_macro", "--json").out)
    entry = found["tasks"]["refusal"]["protocols"]["cv"]
    assert [(pair["a"], pair["b"]) for pair in entry["pairs"]] == [
        ("rules", "good"),
        ("rules", "best"),
        ("good", "best"),
    ]
    assert list(entry["pairs"][0]["metrics"]) == ["f1_macro"]
    assert entry["ranks"]["f1_macro"]["ranks"]["models"][0] == "best"


def test_two_runs_are_set_side_by_side(demur, run, tmp_path):
    other = write_run(tmp_path / "other", {"rules": 0.5, "good": 3.0})
    outcome = demur("compare", run, other, "-p", "test")
    assert outcome.code == 0
    assert "a:good" in outcome.out
    assert f"b = {other}" in outcome.out.replace("\n", "")


def test_runs_on_other_rows_are_refused_in_one_sentence(demur, run, tmp_path):
    other = write_run(tmp_path / "other", {"rules": 0.5, "good": 3.0}, data_hash="cd" * 32)
    outcome = demur("compare", run, other)
    assert outcome.code == 1
    assert outcome.err.startswith("demur: task 'refusal' was run on other rows (data hash abab")


def test_a_wrong_task_is_named_with_the_right_ones(demur, run):
    outcome = demur("compare", run, "-t", "refusl")
    assert outcome.code == 2
    assert "(there: refusal); did you mean 'refusal'?" in outcome.err


def test_a_folder_that_is_no_run_is_said_so(demur, tmp_path):
    outcome = demur("compare", tmp_path)
    assert outcome.code == 1
    assert "holds no experiment_results.json" in outcome.err
