"""Every verb as a real process on good input: exit code 0, results on stdout, JSON that parses."""

import json

import pytest

from demur.data import read_records


@pytest.fixture
def file(write, rows):
    return write(rows(30))


def test_run_and_then_score_with_what_it_chose(demur, config_file, file, tmp_path):
    done = demur("run", config_file(), "-o", "out", "-m", "rules", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["tasks"]["refusal"]["winner"] == "rules"
    scored = demur("score", file, "-m", "out", "-o", "scored.csv", "--json")
    assert scored.returncode == 0
    assert json.loads(scored.stdout)["rows"] == 30
    assert "refusal_label" in read_records(tmp_path / "scored.csv").frame.columns


@pytest.mark.slow
def test_a_grid_of_several_processes_runs_under_the_progress_of_the_command(demur, config_file, tmp_path):
    search = {"space": {"min_df": [1, 2]}, "folds": 2, "jobs": 2}
    models = [{"name": "searched", "preset": "tfidf_nb", "search": search}]
    done = demur("run", config_file(models=models), "-o", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    (model,) = json.loads((tmp_path / "out" / "experiment_results.json").read_text())["tasks"]["refusal"]["models"]
    assert (model["status"], model["search"]["complete"], model["search"]["failed"]) == ("ok", 2, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "validate", "rows.jsonl", "-t", "refusal", "--json"],
        ["data", "stats", "rows.jsonl", "-t", "refusal", "--json"],
        ["models", "list", "--json"],
        ["config", "schema"],
    ],
    ids=" ".join,
)
def test_json_parses_and_is_all_there_is(demur, file, arguments):
    done = demur(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)


def test_json_of_saved_models_parses(demur, finished_run):
    assert len(json.loads(demur("models", "list", finished_run, "--json").stdout)) == 2
    shown = demur("models", "show", finished_run / "models" / "refusal" / "tfidf_nb", "--json")
    assert json.loads(shown.stdout)["family"] == "classical"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--version"], "demur "),
        (["--help"], "Usage: demur"),
        (["data", "import", "rows.jsonl", "-o", "out.parquet"], "30 records -> out.parquet"),
        (["data", "split", "rows.jsonl", "-t", "refusal", "-o", "parts"], "train: "),
        (["data", "formats"], "xstest"),
        (["config", "show"], "seed = 7  # default"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_verb_ends_with_0_and_says_what_it_did(demur, file, arguments, said):
    done = demur(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


@pytest.mark.parametrize("arguments", [["config", "show"], ["config", "schema"], ["data", "formats"], ["--help"]])
def test_a_reader_that_has_seen_enough_is_no_failure_and_no_complaint(start, arguments):
    process = start(*arguments)
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""


def test_without_a_terminal_there_are_no_colours(demur, file, finished_run):
    done = demur("score", file, "-m", finished_run / "models" / "refusal" / "rules")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
