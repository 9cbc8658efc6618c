import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import StorageError
from demur.report import RESULT_COLUMNS, TIMING_COLUMNS, write_results_csv

FIRST = [
    "model",
    "task",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "roc_auc",
    "best_params",
    "status",
    "f1_external",
    "precision_c1",
    "recall_c2",
    "f1_c0",
    "custom_score",
    "false_alarm_rate",
    "missed_threat_rate",
    "final_alpha",
    "per_class_f1",
]


def read(path):
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def rows(run, tmp_path):
    write_results_csv(tmp_path / "results.csv", run.results)
    return read(tmp_path / "results.csv")


@pytest.fixture
def write(tmp_path):
    def apply(*models, task=None):
        results = {"tasks": {"t": {"task": task or {"labels": ["no", "yes"]}, "models": list(models)}}}
        write_results_csv(tmp_path / "results.csv", results)
        return read(tmp_path / "results.csv")

    return apply


def evaluation(**metrics):
    figures = {
        name: {"value": value, "low": None, "high": None, "n": 9, "reason": None}
        for name, value in metrics.items()
    }
    return {"metrics": figures, "n": 9, "groups": 4, "warnings": []}


def test_the_first_columns_are_those_the_issue_names():
    assert list(RESULT_COLUMNS[: len(FIRST)]) == FIRST


def test_no_column_stands_twice():
    assert len(set(RESULT_COLUMNS)) == len(RESULT_COLUMNS)


def test_every_interval_bearing_figure_has_both_bounds():
    for name in ("precision_macro", "f1_macro", "roc_auc", "f1_external", "custom_score", "missed_threat_rate"):
        assert {f"{name}_low", f"{name}_high"} <= set(RESULT_COLUMNS)


def test_measured_columns_are_columns():
    assert set(TIMING_COLUMNS) < set(RESULT_COLUMNS)


@pytest.mark.parametrize("protocol", ["cv", "leave_one_model_out", "leave_one_source_out", "blind"])
def test_every_further_protocol_has_its_own_columns_and_rows(protocol):
    for name in ("f1_macro", "custom_score"):
        assert {f"{protocol}_{name}", f"{protocol}_{name}_low", f"{protocol}_{name}_high"} <= set(RESULT_COLUMNS)
    assert f"{protocol}_n" in RESULT_COLUMNS


def test_there_is_a_row_for_each_model_of_each_task_rules_first(rows):
    names = ["rules", "tfidf_logreg", "tfidf_xgboost", "minilm_logreg", "minilm_finetuned", "broken_model"]
    assert [row["model"] for row in rows] == names * 3
    assert [row["task"] for row in rows[::6]] == ["refusal", "jailbreak", "prompt_risk"]


def test_figures_are_those_of_the_test_rows(rows, refusal):
    figure = refusal.rules.evaluations["test"].get("f1_macro")
    assert float(rows[0]["f1_macro"]) == pytest.approx(figure.value, abs=1e-6)
    assert float(rows[0]["f1_macro_low"]) == pytest.approx(figure.low, abs=1e-6)
    assert rows[0]["protocol"] == "test"
    assert rows[0]["n_test"] == "150"


def test_the_external_figure_is_the_one_of_the_blind_set(rows, refusal):
    assert float(rows[0]["f1_external"]) == pytest.approx(
        refusal.rules.metric("f1_macro", "blind").value, abs=1e-6
    )
    assert rows[0]["f1_external"] == rows[0]["blind_f1_macro"]
    assert rows[0]["n_external"] == "150"


def test_without_a_blind_set_the_external_cells_are_empty(rows):
    row = next(row for row in rows if row["task"] == "prompt_risk")
    assert {row["f1_external"], row["f1_external_low"], row["n_external"], row["blind_n"]} == {""}


def test_a_failed_model_has_its_reason_and_empty_cells(rows):
    row = rows[5]
    assert (row["status"], row["reason"]) == (
        "failed",
        "ValueError: loss is not finite in step 12; lower the learning rate",
    )
    assert {row[name] for name in ("f1_macro", "custom_score", "per_class_f1", "fit_s", "n_test")} == {""}


def test_no_cell_says_nan_or_none(rows):
    assert not {cell.lower() for row in rows for cell in row.values()} & {"nan", "none", "null", "inf"}


def test_f1_of_each_class_is_json_by_label(rows, refusal):
    found = json.loads(rows[0]["per_class_f1"])
    assert list(found) == refusal.labels
    assert found["no_refusal"] == pytest.approx(float(rows[0]["f1_c0"]))


def test_settings_are_json(rows):
    assert json.loads(rows[1]["best_params"]) == {"C": 4.0, "class_weight": "balanced"}
    assert json.loads(rows[0]["best_params"]) == {}


def test_exactly_one_model_of_a_task_is_selected(rows):
    chosen = [row["selected"] for row in rows[:6]]
    assert sorted(chosen) == ["false"] * 5 + ["true"]


def test_without_test_rows_the_figures_are_cross_validated_and_say_so(write):
    row = write({"model": "m", "status": "ok", "evaluations": {"cv": evaluation(f1_macro=0.5)}})[0]
    assert (row["protocol"], row["f1_macro"], row["cv_f1_macro"]) == ("cv", "0.5", "0.5")


def test_a_figure_of_zero_is_written_as_zero(write):
    row = write({"model": "m", "status": "ok", "evaluations": {"test": evaluation(f1_macro=0.0)}})[0]
    assert row["f1_macro"] == "0.0"
    assert row["roc_auc"] == ""


def test_a_class_without_figure_is_null_in_the_json(write):
    row = write({"model": "m", "status": "ok", "evaluations": {"test": evaluation(f1_c0=0.25)}})[0]
    assert json.loads(row["per_class_f1"]) == {"no": 0.25, "yes": None}


def test_several_missed_thresholds_share_a_cell(write):
    assert (
        write({"model": "m", "failed_thresholds": ["a is low", "b is high"]})[0]["failed_thresholds"]
        == "a is low; b is high"
    )


def test_the_focal_weight_comes_from_the_model_or_its_settings(write):
    rows = write({"model": "a", "final_alpha": [0.2, 0.8]}, {"model": "b", "best_params": {"final_alpha": 0.5}})
    assert [row["final_alpha"] for row in rows] == ["[0.2, 0.8]", "0.5"]


@given(name=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_name_survives_the_file(name, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "results.csv"
    write_results_csv(path, {"tasks": {"t": {"models": [{"model": name, "reason": "a, \"b\" and 'c'"}]}}})
    assert read(path)[0]["model"] == name
    assert read(path)[0]["reason"] == "a, \"b\" and 'c'"


def test_equal_results_give_equal_bytes(run, tmp_path):
    write_results_csv(tmp_path / "a.csv", run.results)
    write_results_csv(tmp_path / "b.csv", json.loads(json.dumps(run.results)))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_differences_in_the_last_bits_do_not_reach_the_file(write):
    first = write({"model": "m", "evaluations": {"test": evaluation(f1_macro=0.3)}})
    assert write({"model": "m", "evaluations": {"test": evaluation(f1_macro=0.1 + 0.2)}}) == first


def test_no_task_gives_the_head_alone(tmp_path):
    write_results_csv(tmp_path / "results.csv", {})
    assert (tmp_path / "results.csv").read_text().strip() == ",".join(RESULT_COLUMNS)


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="writing"):
        write_results_csv(tmp_path / "file" / "results.csv", {})


def test_every_model_has_the_winners_lead_with_adjusted_p_values(rows, refusal):
    by_model = {row["model"]: row for row in rows if row["task"] == "refusal"}
    winner, rules = by_model[refusal.winner.name], by_model["rules"]
    gap = float(winner["custom_score"]) - float(rules["custom_score"])
    assert float(rules["winner_ahead_custom_score"]) == pytest.approx(gap, abs=1e-5)
    low, high = (float(rules[f"winner_ahead_custom_score_{end}"]) for end in ("low", "high"))
    assert low < gap < high
    assert 0 < float(rules["winner_ahead_f1_macro_p_holm"]) <= 1
    assert 0 < float(rules["winner_mcnemar_p_holm"]) <= 1
    assert winner["winner_ahead_custom_score"] == ""
    assert by_model["broken_model"]["winner_ahead_custom_score"] == ""


def test_tests_over_folds_come_from_cross_validation(run, tmp_path):
    results = json.loads(json.dumps(run.results))
    protocols = results["tasks"]["refusal"]["statistics"]["protocols"]
    protocols["cv"] = json.loads(json.dumps(protocols["blind"]))
    for pair in protocols["cv"]["pairs"]:
        pair["metrics"]["f1_macro"]["t_p_holm"] = 0.25
    write_results_csv(tmp_path / "results.csv", results)
    row = next(row for row in read(tmp_path / "results.csv") if row["model"] == "rules")
    assert row["winner_ahead_f1_macro_folds_p_holm"] == "0.25"


def test_spread_over_folds_and_seeds_has_columns(write):
    spread = {"mean": 0.5, "std": 0.1, "n": 4}
    seeds = {"evaluations": {"test": {"custom_score": {"values": [0.4, 0.6], "mean": 0.5, "std": 0.14}}}}
    cv = evaluation(f1_macro=0.5) | {"over_folds": {"f1_macro": spread}}
    (row,) = write({"model": "a", "status": "ok", "evaluations": {"cv": cv}, "seeds": seeds})
    assert [row[f"folds_f1_macro_{end}"] for end in ("mean", "std", "count")] == ["0.5", "0.1", "4"]
    assert [row[f"seeds_custom_score_{end}"] for end in ("mean", "std", "count")] == ["0.5", "0.14", "2"]
    assert row["seeds_f1_macro_mean"] == ""


def test_the_last_class_weights_are_read_from_the_trajectory_beside_the_table(write, tmp_path):
    folder = tmp_path / "curves" / "t"
    folder.mkdir(parents=True)
    moved = {"final_alpha": {"no": 1.0, "yes": 1.40000000001}, "changes": []}
    (folder / "alpha_trajectory_a.json").write_text(json.dumps(moved))
    assert write({"model": "a"})[0]["final_alpha"] == '{"no": 1.0, "yes": 1.4}'


def test_a_skipped_model_has_its_status_and_reason(write):
    (row,) = write({"model": "a", "status": "skipped", "reason": "the hub cannot be reached"})
    assert (row["status"], row["reason"]) == ("skipped", "the hub cannot be reached")
