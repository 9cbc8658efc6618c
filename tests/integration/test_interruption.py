"""Killed or interrupted in the middle, the same command goes on and ends as if nothing had been."""

import json
import signal

import pytest

from demur.data import read_records
from demur.experiment import load_experiment, run_experiment

CHANGES = {"models": ["rules", "tfidf_nb", "tfidf_logreg"], "validation": {"cv": 4, "leave_one_out": ["source"]}}


def wait_for(process, words):
    """Read the progress of a running command until a line has these words."""
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"ended without '{words}'")


@pytest.fixture
def unbroken(config_file, tmp_path, table):
    """The table of the same experiment, run in one go in this process."""
    return lambda: table(run_experiment(load_experiment(config_file(**CHANGES)), out=tmp_path / "unbroken").folder)


@pytest.mark.parametrize("at", ["tfidf_nb", pytest.param("tfidf_logreg", marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_and_ends_with_the_same_table(
    start, demur, config_file, table, tmp_path, unbroken, at
):
    path = config_file(**CHANGES)
    process = start("run", path, "-o", "out")
    wait_for(process, f"refusal · {at}")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert not (tmp_path / "out" / "results.csv").exists()
    done = demur("run", path, "-o", "out")
    assert done.returncode == 0
    assert "refusal · rules (done before)" in done.stderr
    assert f"refusal · {at} (done before)" not in done.stderr
    assert table(tmp_path / "out") == unbroken()


def test_a_rerun_that_is_killed_leaves_no_results_of_the_run_before(start, demur, config_file, tmp_path):
    assert demur("run", config_file(models=["rules", "tfidf_nb"]), "-o", "out").returncode == 0
    path = config_file(**CHANGES | {"seed": 8})
    process = start("run", path, "-o", "out")
    wait_for(process, "refusal · tfidf_nb")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "running"
    assert not (tmp_path / "out" / "experiment_results.json").exists()
    refused = demur("score", path, "-m", "out")
    assert refused.returncode == 1
    assert "has not ended and chose no model yet" in refused.stderr


def test_two_runs_cannot_write_to_one_folder(start, demur, config_file):
    path = config_file(**CHANGES)
    process = start("run", path, "-o", "out")
    wait_for(process, "refusal · rules")
    process.send_signal(signal.SIGSTOP)
    second = demur("run", path, "-o", "out")
    assert second.returncode == 1
    assert f"another run (process {process.pid}) is writing to out; wait until it has ended" in second.stderr


def test_ctrl_c_ends_a_run_with_130_and_the_next_goes_on(start, demur, config_file, tmp_path):
    path = config_file(**CHANGES | {"models": ["rules", "tfidf_nb"]})
    process = start("run", path, "-o", "out")
    wait_for(process, "refusal · tfidf_nb")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("demur: stopped; run the same command again and it goes on where it was\n")
    assert "Traceback" not in said
    done = demur("run", path, "-o", "out", "-m", "rules")
    assert done.returncode == 0
    assert "refusal · rules (done before)" in done.stderr
    assert (tmp_path / "out" / "results.csv").is_file()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGKILL, -9, id="killed", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
    ],
)
def test_interrupted_scoring_goes_on_and_ends_with_every_row_once(
    start, demur, finished_run, write, rows, tmp_path, number, code
):
    file = write(rows(3000))
    command = ["score", file, "-m", finished_run / "models" / "refusal" / "rules", "-o", "out.jsonl"]
    process = start(*command, "--batch-rows", "50")
    while process.poll() is None and len(list(tmp_path.glob(".out.jsonl.parts/*"))) < 5:
        pass
    process.send_signal(number)
    process.wait(timeout=60)
    assert process.returncode == code
    assert not (tmp_path / "out.jsonl").exists()
    done = demur(*command, "--batch-rows", "50")
    assert done.returncode == 0
    assert "of them were done before" in done.stdout
    assert read_records(tmp_path / "out.jsonl").texts("id") == [f"r{number}" for number in range(3000)]
