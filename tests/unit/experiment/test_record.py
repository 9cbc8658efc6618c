"""Tests of what a run writes of itself, also when it is killed half-way."""

import json

import pytest

from demur.experiment._folder import RunFolder
from demur.experiment._record import RunRecord


@pytest.fixture
def record(config, tmp_path):
    (tmp_path / "run").mkdir()
    return RunRecord(config(seeds=[4, 5]), RunFolder(tmp_path / "run"), {"demur": "1"}, {"refusal": "h"})


def read(record):
    return json.loads(record.folder.run_file.read_text())


def test_a_run_that_began_has_no_winner_and_no_results_of_an_earlier_one(record):
    for path in (record.folder.results_file, record.folder.csv_file, record.folder.root / "report.html"):
        path.write_text("of before")
    record.begin()
    assert [path.name for path in record.folder.root.iterdir()] == ["run.json"]
    assert (read(record)["status"], read(record)["winners"]) == ("running", {})


def test_a_run_that_ended_says_who_won_and_how_long_it_took(record):
    record.begin()
    record.end({"tasks": {}, "created": "now", "seconds": 2.0, "name": "x", "versions": {}}, {"prepare_s": 1.0})
    found = read(record)
    assert (found["status"], found["winners"], found["timings"]) == (
        "done",
        {},
        {"total_s": 2.0, "prepare_s": 1.0},
    )
    assert (found["seed"], found["seeds"], found["data_hashes"]) == (7, [4, 5], {"refusal": "h"})
    assert record.folder.results_file.is_file()
