"""Tests of `demur run` in process; killing and interrupting it is in tests/integration."""

import csv
import json

import pytest
import yaml

from demur.models import CLASSIFIERS


def table(folder):
    with (folder / "results.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_run_ends_with_0_names_the_winner_and_says_where_things_are(demur, config_file, tmp_path):
    outcome = demur("run", config_file(), "-o", "out")
    assert outcome.code == 0
    assert "tfidf_logreg wins refusal" in " ".join(outcome.out.split())
    assert "out/results.csv" in outcome.out
    assert (tmp_path / "out" / "run.json").is_file()


def test_progress_goes_to_stderr_one_line_a_model(demur, config_file):
    outcome = demur("run", config_file(validation={"cv": 3}), "-o", "out")
    assert outcome.err.splitlines() == [
        "reading, cleaning and splitting the data",
        "refusal · rules",
        "refusal · tfidf_logreg",
        "comparing the models",
    ]


def test_a_second_run_says_what_was_done_before(demur, config_file):
    demur("run", config_file(), "-o", "out")
    outcome = demur("run", config_file(), "-o", "out")
    assert outcome.err.splitlines()[1:] == [
        "refusal · rules (done before)",
        "refusal · tfidf_logreg (done before)",
        "comparing the models",
    ]


def test_json_is_all_that_is_printed(demur, config_file):
    outcome = demur("run", config_file(), "-o", "out", "--json")
    found = json.loads(outcome.out)
    assert found["tasks"]["refusal"]["winner"] == "tfidf_logreg"


def test_flags_win_over_the_file(demur, config_file, tmp_path):
    demur(
        "run",
        config_file(seed=1, validation={"cv": 2, "leave_one_out": []}),
        "-o",
        "out",
        "--seed",
        "5",
        "--cv",
        "3",
    )
    config = json.loads((tmp_path / "out" / "run.json").read_text())["config"]
    assert (config["seed"], config["validation"]) == (
        5,
        {"cv": 3, "leave_one_out": [], "strict_groups": False, "min_rows": 20},
    )


def test_folds_without_a_number_are_those_of_each_family(demur, config_file, tmp_path):
    assert demur("run", "--cv", config_file(), "-o", "out", "-m", "tfidf_logreg").code == 0
    found = json.loads((tmp_path / "out" / "experiment_results.json").read_text())["tasks"]["refusal"]
    assert list(found["models"][0]["evaluations"]["cv"]["folds"]) == ["1", "2", "3", "4"]
    assert [row["model_folds"] for row in found["protocols"]] == [4] * 4


def test_several_seeds_are_given_with_commas(demur, config_file, tmp_path):
    assert demur("run", config_file(), "-o", "out", "--seeds", "3,4", "-m", "tfidf_logreg").code == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["seeds"] == [3, 4]


def test_only_the_models_asked_for_are_trained(demur, config_file, tmp_path):
    demur("run", config_file(), "-o", "out", "-m", "rules", "-m", "rules")
    assert [row["model"] for row in table(tmp_path / "out")] == ["rules"]


def test_a_model_that_is_not_configured_is_answered_with_the_nearest(demur, config_file):
    outcome = demur("run", config_file(), "-o", "out", "-m", "rule")
    assert outcome.code == 2
    assert "has no model 'rule' (it has: rules, tfidf_logreg); did you mean 'rules'?" in outcome.err


def test_only_the_task_asked_for_is_run(demur, config_file, tmp_path):
    demur("run", config_file(tasks=["jailbreak", "refusal"]), "-o", "out", "-t", "refusal")
    assert {row["task"] for row in table(tmp_path / "out")} == {"refusal"}


def test_a_configured_task_from_a_file_is_asked_for_by_its_name(demur, config_file, tmp_path, write, rows):
    (tmp_path / "tone.yaml").write_text(yaml.safe_dump({"name": "tone", "labels": ["warm", "cold"]}))
    named = [{**row, "tone": ("warm", "cold")[number // 2 % 2]} for number, row in enumerate(rows())]
    path = config_file(tasks=["refusal", "tone.yaml"], models=["tfidf_nb"], data=[{"path": str(write(named))}])
    assert demur("run", path, "-o", "out", "-t", "tone").code == 0
    assert {row["task"] for row in table(tmp_path / "out")} == {"tone"}


def test_a_task_that_is_not_there_is_answered_with_the_nearest(demur, config_file):
    outcome = demur("run", config_file(), "-o", "out", "-t", "refusl")
    assert outcome.code == 2
    assert "no task is called 'refusl'" in outcome.err


def test_a_failing_model_is_a_row_and_the_run_ends_well(demur, config_file, monkeypatch, tmp_path):
    monkeypatch.setattr(CLASSIFIERS.get("classical"), "_fit", lambda *arguments: 1 / 0)
    outcome = demur("run", config_file(), "-o", "out")
    assert outcome.code == 0
    assert "refusal · tfidf_logreg failed: ZeroDivisionError: division by zero" in outcome.err
    assert [row["status"] for row in table(tmp_path / "out")] == ["ok", "failed"]


def test_a_task_without_a_winner_ends_with_1(demur, config_file, monkeypatch, tmp_path):
    monkeypatch.setattr(CLASSIFIERS.get("classical"), "_fit", lambda *arguments: 1 / 0)
    assert demur("run", config_file(models=["tfidf_nb"]), "-o", "out").code == 1
    assert table(tmp_path / "out")[0]["status"] == "failed"


def test_a_gate_that_no_model_passes_ends_with_1_and_says_which(demur, config_file):
    outcome = demur("run", config_file(select={"thresholds": {"accuracy": {"min": 1.01}}}), "-o", "out")
    assert outcome.code == 1
    assert "passes every threshold" in " ".join(outcome.out.split())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modles": ["rules"]}, "unknown key 'modles'; did you mean 'models'?"),
        ({"data": [{"path": "gone.jsonl"}]}, "gone.jsonl"),
        ({"tasks": ["jailbreak"]}, "no column 'jailbreak'"),
        ({"select": {"metric": "f1_marco"}}, "did you mean 'f1_macro'?"),
        ({"select": {"on": "cv"}}, "select.on: cv needs validation.cv"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(demur, config_file, changes, said):
    outcome = demur("run", config_file(**changes), "-o", "out")
    assert outcome.code == 2
    assert said in outcome.err
    assert [line.startswith("demur: ") for line in outcome.err.splitlines()].count(True) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.yaml", None, "no configuration file gone.yaml; check the path"),
        ("latin.yaml", "name: caf\u00e9".encode("latin-1"), "latin.yaml is not UTF-8 text"),
        ("broken.yaml", b"a: [", "broken.yaml is not readable as yaml"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_sentence(demur, tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    outcome = demur("run", name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"demur: {said}")
    assert outcome.err.count("\n") == 1


def test_a_folder_of_something_else_is_left_alone(demur, config_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    outcome = demur("run", config_file(), "-o", "mine")
    assert outcome.code == 1
    assert "holds something that is not a demur run" in outcome.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_no_report_draws_nothing(demur, config_file, tmp_path):
    demur("run", config_file(report=True), "-o", "out", "--no-report")
    assert not (tmp_path / "out" / "images").exists()
    assert not (tmp_path / "out" / "report.html").exists()
