import json

import pytest

from demur.report import RunView
from demur.report import _training as training
from demur.report._views import ModelView


def model(**raw):
    return ModelView("m", {"model": "m", "status": "ok"} | raw)


def test_spread_over_seeds_is_of_the_test_rows():
    seeds = {"evaluations": {"test": {"f1_macro": {"values": [0.4, 0.6], "mean": 0.5, "std": 0.1}}}}
    assert training.spread_of(model(seeds=seeds), "seeds", "f1_macro") == {"mean": 0.5, "std": 0.1, "n": 2}
    assert training.spread_of(model(seeds=None), "seeds", "f1_macro") is None


def test_spread_over_folds_is_of_cross_validation():
    folds = {"cv": {"metrics": {}, "over_folds": {"f1_macro": {"mean": 0.7, "std": None, "n": 4}}}}
    found = training.spread_of(model(evaluations=folds), "folds", "f1_macro")
    assert found == {"mean": 0.7, "std": None, "n": 4}
    assert training.spread_of(model(evaluations={"cv": {}}), "folds", "f1_macro") is None


def test_only_models_with_a_spread_have_a_line(refusal):
    (row,) = training.spread_rows(refusal)
    assert row["model"].name == "minilm_finetuned"
    assert row["cells"] == ["—", "—", "0.520 ± 0.020 (n = 3)", "0.520 ± 0.020 (n = 3)"]


def test_a_search_says_what_it_tried_cost_and_won(refusal):
    row = next(row for row in training.search_rows(refusal) if row["model"].name == "tfidf_logreg")
    assert (row["method"], row["trials"], row["pruned"], row["seconds"]) == ("tpe", "40", "12", "1 min 15 s")
    assert (row["before"], row["after"], row["nested"]) == ("0.660", "0.710", "yes")
    assert row["params"] == 'C = 4.0, class_weight = "balanced"'


def test_weights_say_where_they_began_and_ended_and_why(run, refusal):
    (row,) = training.weight_rows(run, refusal)
    assert (row["initial"], row["final"]) == ("1.00, 1.00, 1.00", "1.00, 1.00, 1.30")
    assert (row["changes"], row["cause"]) == (3, "recall of hard_refusal")


def test_of_several_heads_the_tasks_own_trajectory_is_taken(small_run):
    view = RunView(small_run)
    task = view.tasks[0]
    path = small_run / "curves/jailbreak/alpha_trajectory_minilm_finetuned.json"
    own = json.loads(path.read_text())
    path.write_text(json.dumps({"jailbreak": own, "refusal": {"changes": []}}))
    assert training.trajectory_of(view, task, task.models[-2]) == own


@pytest.mark.parametrize("text", ["{", "[]", '{"changes": 3}'])
def test_a_trajectory_that_is_none_is_left_out(small_run, text):
    path = small_run / "curves/jailbreak/alpha_trajectory_minilm_finetuned.json"
    path.write_text(text)
    view = RunView(small_run)
    assert training.weight_rows(view, view.tasks[0]) == []


def test_the_weights_a_model_ended_with_are_its_own_or_its_trajectorys():
    moved = {"final_alpha": {"a": 1.2}}
    assert training.final_weights(model(final_alpha=[1, 2]), moved) == [1, 2]
    assert training.final_weights(model(best_params={"final_alpha": 3}), moved) == 3
    assert training.final_weights(model(), moved) == {"a": 1.2}
    assert training.final_weights(model(), None) is None


def test_lost_fits_are_said_once(small_run, edit):
    fits = [
        {"protocol": "cv", "fold": "1", "status": "ok", "missing_train": [], "missing_test": ["attack_succeeded"]},
        {"protocol": "cv", "fold": "1", "status": "ok", "missing_train": [], "missing_test": ["attack_succeeded"]},
        {"protocol": "leave_one_source_out", "fold": "desk", "status": "skipped", "reason": None},
    ]
    view = RunView(edit(small_run, lambda results: results["tasks"]["jailbreak"].update(protocols=fits)))
    assert training.lost_fits(view.tasks[0]) == [
        "grouped cross-validation, 1: no test row of attack_succeeded",
        "leave one source out, desk: left out, no reason was recorded",
    ]
