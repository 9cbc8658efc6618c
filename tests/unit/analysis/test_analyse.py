import json

import polars as pl
import pytest

from demur.analysis import analyse_task, check_balance, finished_models, predictions_of
from demur.data import Records


def as_records(rows, task):
    columns = {
        "id": rows.ids,
        "prompt": [f"ask {number % 7} about {name}" for number, name in enumerate(rows.ids)],
    }
    columns |= {"source": rows.column("source"), "model": rows.column("answerer"), "group": rows.column("group")}
    return Records(pl.DataFrame(columns | {task.name: [task.labels[label] for label in rows.y]}))


@pytest.fixture
def results(run_of, task):
    folder = run_of()
    entry = json.loads((folder / "experiment_results.json").read_text())["tasks"][task.name]
    classes = {"train": (60, 50, 40), "valid": (12, 10, 8), "test": (15, 11, 9), "blind": (5, 30, 5)}
    entry["data"] |= {name: {"classes": dict(zip(task.labels, n, strict=True))} for name, n in classes.items()}
    return folder, entry


def test_a_task_is_analysed_from_its_files(results, task, judged, fast):
    folder, entry = results
    found = analyse_task(task, as_records(judged(1.0), task), entry, predictions_of(folder, task.name), fast)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found["protocols"]) == ["test", "cv"]
    assert len(found["protocols"]["cv"]["pairs"]) == 3
    assert [one["name"] for one in found["balance"]] == ["split", "blind", "source", "answerer"]
    assert found["confound"]["told"]["sources"] == ["desk", "field"]
    assert {one["protocol"] for one in found["confound"]["baselines"]} == {"cv"}
    assert found["settings"]["draws"] == fast.draws


def test_equal_inputs_give_equal_bytes(results, task, judged, fast):
    folder, entry = results
    rows = as_records(judged(1.0), task)
    pair = [analyse_task(task, rows, entry, predictions_of(folder, task.name), fast) for _ in range(2)]
    assert json.dumps(pair[0]) == json.dumps(pair[1])


def test_without_records_the_models_are_still_compared(results, task, fast):
    folder, entry = results
    found = analyse_task(task, None, entry, predictions_of(folder, task.name), fast)
    assert found["confound"]["told"] is None
    assert list(found["protocols"]) == ["test", "cv"]


@pytest.mark.parametrize("entry", [{}, {"models": [], "winner": None, "data": None}])
def test_a_task_without_models_has_nothing_to_say(entry, task, fast, tmp_path):
    found = analyse_task(task, None, entry, predictions_of(tmp_path, task.name), fast)
    assert (found["protocols"], found["balance"], found["warnings"]) == ({}, [], [])


def test_a_winner_whose_predictions_are_gone_ends_nothing(task, fast, tmp_path):
    entry = {"models": [{"model": "a", "status": "ok"}], "winner": "a"}
    assert analyse_task(task, None, entry, predictions_of(tmp_path, task.name), fast)["protocols"] == {}


def test_the_blind_set_is_compared_with_all_other_rows(results, task):
    found = {one.name: one for one in check_balance(task, None, results[1])}
    assert found["blind"].counts == ((87, 71, 57), (5, 30, 5))
    assert found["blind"].test.p < 0.001
    assert found["split"].test.p > 0.9


def test_models_that_failed_are_not_compared():
    models = [
        {"model": "a", "status": "ok"},
        {"model": "b", "status": "failed"},
        {"model": "c", "status": "skipped"},
    ]
    assert finished_models({"models": models}) == ["a"]
