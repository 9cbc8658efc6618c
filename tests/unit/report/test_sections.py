import pytest

from demur.report import RunView
from demur.report import _sections as sections
from demur.report._views import TaskView
from demur.tasks import Task


def test_the_formula_of_a_task_with_critical_errors_names_them(refusal):
    assert sections.score_formula(refusal) == (
        "(0.5 × F1 of soft_refusal + 0.3 × precision of hard_refusal + 0.2 × F1 of no_refusal) × exp(−5 × "
        "(share of no_refusal called hard_refusal + share of hard_refusal called no_refusal))"
    )


def test_the_formula_of_a_task_without_a_cost_is_the_mean_f1():
    task = TaskView("t", {"task": Task(name="t", labels=("a", "b")).model_dump(mode="json")})
    assert sections.score_formula(task) == "0.5 × F1 of a + 0.5 × F1 of b"


def test_the_league_has_the_rules_first_then_the_best_then_the_failed(refusal):
    rows = sections.league(refusal).rows
    assert rows[0].name == "rules"
    assert rows[-1].name == "broken_model"
    scores = [row.cells[0].value for row in rows[1:-1]]
    assert scores == sorted(scores, reverse=True)


def test_the_league_names_its_cohort(refusal):
    assert sections.league(refusal).caption.startswith("League: test split, n = 150 rows in ")


def test_a_failed_model_is_a_row_with_its_reason(refusal):
    row = sections.league(refusal).rows[-1]
    assert row.failure == "ValueError: loss is not finite in step 12; lower the learning rate"


def test_a_failed_model_without_reason_says_so():
    task = TaskView("t", {"task": {}, "models": [{"model": "m", "status": "failed"}]})
    assert sections.league(task).rows[0].failure == "no reason was recorded"


def test_missed_thresholds_stand_in_the_row(run):
    found = [row for task in run.tasks for row in sections.league(task).rows if row.thresholds]
    assert found
    assert all("is below 0.5" in row.thresholds[0] for row in found)


def test_one_winner_is_marked(refusal):
    assert [row.name for row in sections.league(refusal).rows if row.is_winner] == [refusal.winner.name]


def test_a_column_that_no_model_has_is_left_out(refusal):
    titles = [column.title for column in sections.league(refusal).columns]
    assert titles[:2] == ["Security score", "Macro-F1"]
    assert "Recall at 1 % false positives" not in titles  # 150 rows hold no 100 that are no threat


def test_each_protocol_is_a_column_that_names_its_rows(refusal):
    columns = sections.protocol_table(refusal).columns
    assert [column.title for column in columns] == [
        "Validation split",
        "Test split",
        "Leave one answering model out",
        "Leave one source out",
        "Blind set",
    ]
    assert columns[0].note == "n = 150, used to choose"
    assert columns[1].note == "n = 150"


def test_one_protocol_alone_needs_no_table():
    models = [{"model": "m", "status": "ok", "evaluations": {"test": {"n": 3}}}]
    assert sections.protocol_table(TaskView("t", {"models": models})) is None


def test_classes_of_the_winner_have_precision_recall_and_f1(refusal):
    table = sections.class_table(refusal)
    assert [row.name for row in table.rows] == refusal.labels
    assert table.rows[1].cells[1] == refusal.winner.metric("recall_c1")


def test_without_a_winner_there_are_no_classes_to_show():
    assert sections.class_table(TaskView("t", {"models": []})) is None


def test_held_out_values_stand_apart_by_what_was_held_out(refusal):
    tables = sections.fold_tables(refusal)
    assert [table.caption for table in tables] == [
        "Macro-F1 on each held-out answering model",
        "Macro-F1 on each held-out source",
    ]
    names = [row.name for row in tables[0].rows]
    assert names == ["voice-chatty", "voice-curt", "voice-kind", "voice-lawyer"]
    assert tables[0].rows[0].note.startswith("n = ")
    shown = [column.title for column in tables[0].columns]
    assert shown[:3] == [one.name for one in (refusal.rules, refusal.winner, refusal.runner_up)]
    assert len(shown) <= 6
    assert set(shown) <= {one.name for one in refusal.models if one.evaluations.get("leave_one_model_out")}


def test_those_that_do_best_when_something_is_held_out_are_shown_where_the_winner_was_not_tried_so(
    small_run, edit
):
    def change(results):
        for one in results["tasks"]["jailbreak"]["models"]:
            if one["model"] in winners:
                one["evaluations"].pop("leave_one_source_out", None)

    before = RunView(small_run).task("jailbreak")
    winners = {before.winner.name, before.runner_up.name}
    after = RunView(edit(small_run, change)).task("jailbreak")
    (table,) = [one for one in sections.fold_tables(after) if "source" in one.caption]
    shown = {column.title for column in table.columns}
    assert shown.isdisjoint(winners)
    assert len(shown) > 1


def test_a_task_without_leave_one_out_has_no_such_table():
    assert sections.fold_tables(TaskView("t", {"models": []})) == []


def test_the_data_table_counts_classes_sources_and_answerers(refusal):
    table = sections.data_table(refusal)
    assert table["splits"] == ["Training", "Validation", "Test", "Blind set"]
    assert [block["title"] for block in table["blocks"]] == ["Class", "Source", "Answering model"]
    assert [name for name, _ in table["blocks"][0]["rows"]] == refusal.labels
    for column in range(4):
        counted = sum(cells[column]["n"] for _, cells in table["blocks"][0]["rows"])
        assert counted == table["rows"][column]


def test_answerers_are_left_out_where_there_are_none(run):
    titles = [block["title"] for block in sections.data_table(run.task("prompt_risk"))["blocks"]]
    assert titles == ["Class", "Source"]


def test_many_values_are_cut_and_counted():
    sources = {f"s{number:02d}": 1 for number in range(25)}
    task = TaskView("t", {"task": {"labels": ["a"]}, "data": {"test": {"n": 25, "sources": sources}}})
    block = sections.data_table(task)["blocks"][1]
    assert (len(block["rows"]), block["more"]) == (20, 5)


def test_a_value_that_a_split_lacks_has_no_share():
    data = {"test": {"n": 3, "sources": {"a": 3}}, "blind": {"n": 2, "sources": {"b": 2}}}
    block = sections.data_table(TaskView("t", {"task": {"labels": ["x"]}, "data": data}))["blocks"][1]
    assert block["rows"][0] == ("a", [{"n": 3, "share": "100 %"}, {"n": 0, "share": ""}])


def test_a_split_of_unknown_size_has_no_shares():
    task = TaskView("t", {"task": {"labels": ["a"]}, "data": {"test": {"classes": {"a": 3}}}})
    assert sections.data_table(task)["blocks"][0]["rows"] == [("a", [{"n": 3, "share": ""}])]


def test_costs_are_of_finished_models_only(refusal):
    rows = sections.cost_rows(refusal)
    assert "broken_model" not in [row["model"].name for row in rows]
    assert rows[1]["p50"] != "—"


def test_chosen_settings_read_as_text(refusal):
    row = next(row for row in sections.cost_rows(refusal) if row["model"].name == "tfidf_logreg")
    assert row["params"] == 'C = 4.0, class_weight = "balanced"'


def test_a_cost_that_was_not_measured_is_a_dash():
    models = [{"model": "m", "status": "ok", "evaluations": {"test": {"n": 3}}, "fit_s": None}]
    row = sections.cost_rows(TaskView("t", {"models": models}))[0]
    assert {row["fit"], row["p50"], row["size"], row["memory"]} == {"—"}


def test_cleaning_steps_are_rows(tmp_path):
    (tmp_path / "data").mkdir()
    step = '{"step": "near_duplicates", "rows_in": 9, "changed": 2, "rejected": 1, "rows_out": 8, "note": "x"}'
    (tmp_path / "data/report.json").write_text(f'{{"steps": [{step}]}}')
    assert sections.cleaning_rows(RunView(tmp_path)) == [
        {"part": "data", "name": "near duplicates", "cells": [9, 2, 1, 8], "note": "x"}
    ]


@pytest.mark.parametrize("name", ["refusal", "jailbreak", "prompt_risk"])
def test_every_row_has_a_cell_for_each_column(run, name):
    task = run.task(name)
    for table in (sections.league(task), sections.protocol_table(task), *sections.fold_tables(task)):
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}
