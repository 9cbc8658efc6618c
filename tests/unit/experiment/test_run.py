"""Tests of whole experiments in process: what they leave, what repeats, what they refuse."""

import json

import polars as pl
import pytest
import yaml

import demur
from demur.errors import ConfigError, DataError, MissingDependencyError, RegistryError, RunError, TaskError
from demur.experiment import run_experiment
from demur.report import RESULT_COLUMNS, TIMING_COLUMNS

FOUR = {
    "name": "tone",
    "labels": ["warm", "cool", "cold", "rude"],
    "fields": ["response"],
    "threat": ["rude"],
    "safe": ["warm", "cool"],
    "cost": {
        "terms": [
            {"metric": "recall", "label": "rude", "weight": 0.6},
            {"metric": "f1", "label": "warm", "weight": 0.4},
        ],
        "critical": [["warm", "rude"]],
        "factor": 2,
    },
}


class Listener:
    """Remembers what it was told."""

    def __init__(self):
        self.total, self.steps, self.said = 0, [], []

    def start(self, total):
        self.total = total

    def step(self, words):
        self.steps.append(words)

    def say(self, words):
        self.said.append(words)


@pytest.fixture
def own_task(write, rows, tmp_path):
    """Values of an experiment on a task of four classes from a YAML file, without a rules list."""
    (tmp_path / "tone.yaml").write_text(yaml.safe_dump(FOUR))
    labelled = []
    for number, row in enumerate(rows(160)):
        label = FOUR["labels"][(number + number // 2) % 4]
        labelled.append({**row, "tone": label, "response": f"{label} words, {number} of them, said to you"})
    return {
        "tasks": [str(tmp_path / "tone.yaml")],
        "data": [{"path": str(write(labelled, "tone.jsonl"))}],
        "models": ["rules", "tfidf_logreg", "tfidf_nb"],
    }


def test_the_run_folder_holds_what_the_readers_expect(run):
    folder = run().folder
    for name in ("run.json", "results.csv", "experiment_results.json", "data/report-data.json"):
        assert (folder / name).is_file(), name
    for model in ("rules", "tfidf_logreg"):
        assert (folder / "models" / "refusal" / model / "demur.json").is_file()
        assert (folder / "predictions" / "refusal" / model / "test.parquet").is_file()


def test_the_results_have_every_part_of_the_contract(run, stored):
    found = stored(run().folder)
    assert {"name", "created", "seconds", "versions", "tasks"} <= set(found)
    task = found["tasks"]["refusal"]
    assert {"task", "data", "winner", "why", "warnings", "protocols", "models", "statistics"} <= set(task)
    for model in task["models"]:
        assert {"model", "family", "status", "reason", "best_params", "selected", "evaluations"} <= set(model)
        figure = model["evaluations"]["test"]["metrics"]["f1_macro"]
        assert set(figure) == {"value", "low", "high", "n", "reason"}


def test_the_table_has_a_row_for_each_task_and_model(run, table):
    folder = run(tasks=["refusal"], models=["rules", "tfidf_nb"]).folder
    found = table(folder)
    assert list(found) == [("refusal", "rules"), ("refusal", "tfidf_nb")]
    header = (folder / "results.csv").read_text().splitlines()[0].split(",")
    assert header == list(RESULT_COLUMNS)
    assert set(TIMING_COLUMNS) < set(header)


def test_what_it_ran_from_is_written_down(run, config):
    result = run(seed=11)
    found = json.loads((result.folder / "run.json").read_text())
    assert found["config"] == config(seed=11).model_dump(mode="json")
    assert found["seed"] == 11
    assert found["versions"]["demur"] == demur.__version__
    assert len(found["data_hashes"]["refusal"]) == 64
    assert found["winners"] == result.winners == {"refusal": "tfidf_logreg"}
    assert found["timings"]["total_s"] >= found["timings"]["refusal/tfidf_logreg_s"] > 0


def test_the_configuration_of_a_run_repeats_it(run, table, tmp_path):
    first = run().folder
    values = json.loads((first / "run.json").read_text())["config"]
    (tmp_path / "again.json").write_text(json.dumps(values))
    second = run_experiment(tmp_path / "again.json", out=tmp_path / "second")
    assert table(second.folder) == table(first)


def test_the_same_seed_gives_the_same_table(run, table):
    assert table(run("one", seed=3).folder) == table(run("two", seed=3).folder)


def test_another_seed_gives_another_split(run, table):
    assert table(run("one", seed=3).folder) != table(run("two", seed=4).folder)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_table_with_every_protocol_and_light_model(run, table):
    changes = {
        "models": ["rules", "tfidf_logreg", "tfidf_svm", "tfidf_nb", "tfidf_forest", "tfidf_lexical"],
        "validation": {"cv": 3, "leave_one_out": ["model", "source"]},
    }
    assert table(run("one", **changes).folder) == table(run("two", **changes).folder)


def test_the_starter_corpus_gives_a_blind_figure(tiny, tmp_path, table):
    found = table(run_experiment(tiny(), out=tmp_path / "run").folder)
    row = found["refusal", "tfidf_logreg"]
    assert 0 < float(row["f1_external"]) <= 1
    assert float(row["f1_external_low"]) <= float(row["f1_external"]) <= float(row["f1_external_high"])


def test_a_task_without_blind_rows_has_an_empty_cell_and_a_warning(run, table, stored, write, rows):
    other = [{key: row[key] for key in ("id", "prompt", "response")} for row in rows(10, first=500)]
    folder = run(blind=[{"path": str(write(other, "blind.jsonl"))}]).folder
    assert {row["f1_external"] for row in table(folder).values()} == {""}
    assert stored(folder)["tasks"]["refusal"]["warnings"] == [
        "the blind set has no row of this task: f1_external is null"
    ]


def test_a_second_run_fits_nothing_and_gives_the_same_table(run, table, fits):
    before = table(run().folder)
    fits.clear()
    assert table(run().folder) == before
    assert fits == []


def test_a_new_model_is_the_only_one_fitted(run, fits):
    run(models=["rules", "tfidf_logreg"])
    fits.clear()
    run(models=["rules", "tfidf_logreg", "tfidf_nb"])
    assert fits == ["classical"]


def test_changed_settings_of_a_model_fit_that_model_alone(run, fits, stored):
    run(models=["rules", "tfidf_logreg"])
    fits.clear()
    changed = {"preset": "tfidf_logreg", "settings": {"head": "nb"}}
    run(models=["rules", changed])
    assert fits == ["classical"]


def test_another_seed_fits_every_model_again(run, fits):
    run()
    fits.clear()
    run(seed=8)
    assert sorted(fits) == ["classical", "rules"]


def test_changed_data_fit_every_model_again(run, fits, write, rows):
    run()
    fits.clear()
    run(data=[{"path": str(write(rows(130)))}])
    assert sorted(fits) == ["classical", "rules"]


def test_other_criteria_choose_again_without_fitting(run, fits):
    assert run().winners == {"refusal": "tfidf_logreg"}
    fits.clear()
    chosen = run(select={"thresholds": {"size_mb": {"max": 0.02}}})
    assert chosen.winners == {"refusal": "rules"}
    assert fits == []


def test_a_failing_model_is_a_row_and_the_others_go_on(run, break_family, table, stored):
    listener = Listener()
    break_family("_fit", ValueError("no luck"))
    result = run(models=["tfidf_logreg", "rules"], progress=listener)
    row = table(result.folder)["refusal", "tfidf_logreg"]
    assert (row["status"], row["reason"], row["f1_macro"]) == ("failed", "ValueError: no luck", "")
    assert table(result.folder)["refusal", "rules"]["status"] == "ok"
    assert result.winners == {"refusal": "rules"}
    assert "refusal · tfidf_logreg failed: ValueError: no luck" in listener.said


def test_where_every_model_fails_there_is_no_winner(run, break_family):
    break_family("_fit", MemoryError())
    result = run(models=["tfidf_logreg"])
    assert result.winners == {"refusal": None}
    assert result.results["tasks"]["refusal"]["why"] == "no model of this task could be trained and scored"


def test_a_listener_is_told_of_every_step(run):
    listener = Listener()
    run(progress=listener, validation={"cv": 2, "leave_one_out": []})
    assert listener.total == len(listener.steps) == 6
    again = Listener()
    run(progress=again, validation={"cv": 2, "leave_one_out": []})
    assert again.total == len(again.steps) == 6


def test_a_task_that_cannot_be_prepared_is_said_and_the_others_go_on(run, table):
    listener = Listener()
    assert {task for task, _ in table(run(tasks=["jailbreak", "refusal"], progress=listener).folder)} == {
        "refusal"
    }
    assert any(words.startswith("left out: task 'jailbreak': the data has no column") for words in listener.said)


def test_without_draws_there_are_figures_and_no_intervals(run, table):
    row = table(run(draws=0, models=["rules"]).folder)["refusal", "rules"]
    assert float(row["f1_macro"]) > 0
    assert row["f1_macro_low"] == row["f1_macro_high"] == ""


def test_a_model_for_other_tasks_is_left_out_and_said(run, table):
    listener = Listener()
    models = ["rules", {"preset": "tfidf_nb", "tasks": ["refusl"]}]
    assert list(table(run(models=models, progress=listener).folder)) == [("refusal", "rules")]
    assert "tfidf_nb is left out: it is for refusl only, no task of this run" in listener.said


def test_a_task_of_four_classes_goes_end_to_end(run, own_task, table, stored):
    result = run(**own_task)
    found = table(result.folder)
    assert found["tone", "rules"]["status"] == "failed"
    assert "no built-in keyword list for task 'tone'" in found["tone", "rules"]["reason"]
    assert result.winners["tone"] in ("tfidf_logreg", "tfidf_nb")
    best = stored(result.folder)["tasks"]["tone"]["models"][1]["evaluations"]["test"]["metrics"]
    assert {f"f1_c{number}" for number in range(4)} <= set(best)
    frame = pl.read_parquet(result.folder / "predictions" / "tone" / "tfidf_logreg" / "test.parquet")
    assert {"p_0", "p_1", "p_2", "p_3"} <= set(frame.columns)
    loaded = demur.load(result.folder / "models" / "tone" / "tfidf_logreg")
    assert loaded.predict([{"response": "rude words, 3 of them, said to you"}]).labels == ["rude"]


def test_one_class_only_is_refused(run, write, rows):
    with pytest.raises(DataError, match="have the label 'hard_refusal'; add rows of another class"):
        run(data=[{"path": str(write(rows(60, labels=("hard_refusal",))))}])


def test_a_single_group_is_refused(run, write, rows):
    with pytest.raises(DataError, match="form a single group, which no split may divide; give rows with other"):
        run(data=[{"path": str(write([{**row, "group": "g"} for row in rows()]))}])


def test_a_split_without_a_class_in_its_test_rows_gives_figures_and_a_warning(run, write, rows, stored):
    """One prompt alone holds the rare class, so it can stand on one side only."""
    common = rows(100, labels=("no_refusal", "hard_refusal"))
    rare = rows(2, labels=("soft_refusal",), first=900)
    folder = run(data=[{"path": str(write([*common, *rare]))}], models=["tfidf_nb"]).folder
    evaluation = stored(folder)["tasks"]["refusal"]["models"][0]["evaluations"]["test"]
    assert evaluation["metrics"]["custom_score"]["value"] is not None
    assert evaluation["warnings"]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"tasks": ["refusl"]}, TaskError, r"no task is called 'refusl'.*did you mean 'refusal'\?"),
        ({"tasks": ["refusal", "refusal"]}, ConfigError, "tasks repeat: refusal; give each once"),
        ({"models": ["tfidf"]}, RegistryError, "no model is called 'tfidf'"),
        ({"models": [{"family": "classical", "settings": {"hed": "nb"}}]}, ConfigError, "unknown key 'hed'"),
        ({"select": {"metric": "f1"}}, ConfigError, "no figure is called 'f1'"),
        ({"data": [{"path": "nowhere.jsonl"}]}, DataError, r"no file .*nowhere\.jsonl"),
        ({"data": [{"path": "x.jsonl", "format": "xtest"}]}, RegistryError, r"did you mean 'xstest'\?"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_fitted(run, fits, changes, error, said):
    with pytest.raises(error, match=said):
        run(**changes)
    assert fits == []


def test_a_file_is_no_run_folder(run, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match="taken is a file; choose another folder with --out"):
        run("taken")


def test_a_folder_of_something_else_is_left_alone(run, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("dear")
    with pytest.raises(RunError, match="holds something that is not a demur run; choose another folder"):
        run("taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.tex"]


def test_a_project_that_happens_to_have_data_and_models_is_left_alone(run, tmp_path):
    mine = [tmp_path / "project" / name for name in ("data/mine/quarantine-1.jsonl", "models/refusal/rules/notes")]
    for path in mine:
        path.parent.mkdir(parents=True)
        path.write_text("dear")
    with pytest.raises(RunError, match="holds something that is not a demur run; choose another folder"):
        run("project", models=["rules"])
    assert [path.read_text() for path in mine] == ["dear", "dear"]


@pytest.mark.parametrize("left", [[".demur-run"], ["run.json"], ["data/report-data.json", "cells/x"]])
def test_the_folder_of_a_run_that_was_killed_early_is_taken_up_again(run, tmp_path, left):
    for name in left:
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert run(models=["rules"]).winners == {"refusal": "rules"}


def test_without_out_the_folder_is_named_after_the_experiment(config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_experiment(config(name="mine", models=["rules"])).folder.resolve() == tmp_path / "runs" / "mine"
    named = config(out=str(tmp_path / "elsewhere"), models=["rules"])
    assert run_experiment(named).folder == tmp_path / "elsewhere"


def test_an_earlier_runs_page_does_not_outlive_its_results(run):
    folder = run(models=["rules"]).folder
    (folder / "report.html").write_text("figures of before")
    run(models=["rules"], seed=8, report=False)
    assert not (folder / "report.html").exists()


def test_without_the_libraries_of_the_report_the_run_still_ends_well(run, monkeypatch):
    def absent(folder):
        raise MissingDependencyError("'matplotlib' is needed here; install it with: pip install 'demur[report]'")

    monkeypatch.setattr("demur.report.figures._draw.draw_figures", absent)
    monkeypatch.setattr("demur.report.draw_figures", absent, raising=False)
    listener = Listener()
    folder = run(report=True, progress=listener).folder
    assert (folder / "results.csv").is_file()
    assert listener.said[-1].startswith("no report: 'matplotlib' is needed here")
