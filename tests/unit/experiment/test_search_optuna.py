"""Tests of the search by Optuna: one result a seed, killed or not; pruned and failed trials are counted."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from demur.config import parse_settings
from demur.errors import StorageError
from demur.experiment import _search_optuna
from demur.experiment._search_config import Dimension, SearchConfig
from demur.experiment._search_optuna import Journal, run_study

SPACE = {"shift": Dimension(low=0, high=1), "width": Dimension(low=1, high=9, int=True)}


def start(bench, seed=7, space=SPACE, problem=None, file="search.sqlite", **search):
    config = parse_settings(SearchConfig, {"trials": 8, "pruner": "none"} | search)
    journal = Journal(bench.folder / "deep" / file, "study")
    return run_study(problem or bench.problem(), space, config, seed, journal, bench.tell)


def figures(trials):
    return [(trial.params, trial.state, trial.scores, trial.reason) for trial in trials]


def test_the_first_trial_takes_the_settings_as_they_are(bench):
    first, *others = start(bench)
    assert first.params == {"shift": 0.9, "width": 1}
    assert all(0 <= trial.params["shift"] <= 1 and type(trial.params["width"]) is int for trial in others)
    assert bench.told[:2] == ["search: trial 1 of 8", f"search: trial 2 of 8, best {first.score:.3f}"]


def test_the_search_goes_where_the_score_is(bench):
    best = max(start(bench, trials=30), key=lambda trial: trial.score)
    assert abs(best.params["shift"] - 0.3) < 0.1


def test_the_same_seed_gives_the_same_trials_and_another_others(bench):
    one, two, other = (
        figures(start(bench, seed, file=f"{number}.sqlite")) for number, seed in enumerate([7, 7, 8])
    )
    assert one == two
    assert [params for params, *_ in one[1:]] != [params for params, *_ in other[1:]]


@pytest.mark.parametrize("pruner", ["none", "third", "halving"])
def test_a_search_stopped_and_resumed_gives_the_same_trials(bench, pruner, monkeypatch):
    unbroken = figures(start(bench, trials=14, pruner=pruner, file="whole.sqlite"))
    fits, real = [], _search_optuna.run_trial

    def stopping(*arguments):
        fits.append(1)
        if len(fits) in (4, 9):
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(_search_optuna, "run_trial", stopping)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            start(bench, trials=14, pruner=pruner)
    assert figures(start(bench, trials=14, pruner=pruner)) == unbroken
    assert len(fits) <= 14 + 2


def test_a_finished_search_is_read_and_not_run_again(bench):
    first = figures(start(bench))
    bench.fitted.clear()
    assert figures(start(bench)) == first
    assert bench.fitted == []


@pytest.mark.parametrize("pruner", ["median", "third", "halving"])
def test_pruned_trials_count_as_trials_and_cost_less(bench, pruner):
    pruned = start(bench, trials=16, pruner=pruner)
    assert len(pruned) == 16
    cut = [trial for trial in pruned if trial.state == "pruned"]
    assert cut
    assert all(trial.fits < 3 and trial.score is not None for trial in cut)
    assert sum(trial.fits for trial in pruned) == len(bench.fitted) < 16 * 3


def test_a_training_in_steps_is_pruned_inside_its_first_fold(bench):
    problem = bench.problem(most_epochs=3)
    cut = [trial for trial in start(bench, problem=problem, trials=16, pruner="median") if trial.state == "pruned"]
    assert any(trial.fits == 1 and trial.epochs < 3 for trial in cut)


def test_failed_trials_are_kept_with_their_reason_and_the_search_goes_on(bench):
    found = start(bench, space={"outcome": Dimension(choices=("ok", "nan", "raises"))}, trials=10)
    assert len(found) == 10
    assert {trial.params["outcome"]: (trial.state, trial.reason) for trial in found} == {
        "ok": ("complete", None),
        "nan": ("failed", "the fitted model gives NaN or infinite probabilities for 30 of 30 rows"),
        "raises": ("failed", "ValueError: this setting does not work"),
    }


def test_values_drawn_before_are_not_fitted_again(bench):
    found = start(bench, space={"width": Dimension(choices=(1, 30))}, trials=10, pruner="median")
    assert len(found) == 10
    assert len({trial.score for trial in found}) == 2
    assert sum(trial.fits for trial in found) == len(bench.fitted) <= 6


def test_choices_come_back_as_they_were_given(bench):
    choices = (1, 2, 30)
    found = {trial.params["width"] for trial in start(bench, space={"width": Dimension(choices=choices)})}
    assert found <= set(choices)
    assert all(type(value) is int for value in found)


def test_a_search_out_of_time_begins_no_further_trial(bench, monkeypatch):
    real = _search_optuna.run_trial

    def slow(*arguments):
        trial = real(*arguments)
        trial.seconds = 20.0
        return trial

    monkeypatch.setattr(_search_optuna, "run_trial", slow)
    assert len(start(bench, timeout_s=50)) == 3
    assert len(start(bench, timeout_s=50)) == 3


def test_a_file_cut_short_is_made_again(bench):
    whole = figures(start(bench, file="whole.sqlite"))
    path = bench.folder / "deep" / "search.sqlite"
    path.write_bytes(b"SQLite format 3\0 and then nothing")
    assert figures(start(bench)) == whole


def test_a_file_damaged_inside_is_made_again(bench):
    whole = figures(start(bench))
    path = bench.folder / "deep" / "search.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    bench.fitted.clear()
    assert figures(start(bench)) == whole
    assert bench.fitted != []


def test_a_file_that_another_process_holds_is_left_as_it_is(bench, monkeypatch):
    monkeypatch.setattr(_search_optuna, "_PATIENCE_S", 0.0)
    whole = figures(start(bench))
    path = bench.folder / "deep" / "search.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            StorageError, match=r"could not open .*database is locked.*or delete it to search anew"
        ):
            start(bench)
    bench.fitted.clear()
    assert figures(start(bench)) == whole
    assert bench.fitted == []


def test_a_folder_in_place_of_the_file_is_said(bench):
    (bench.folder / "deep" / "search.sqlite").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"could not open .*unable to open database file"):
        start(bench)


def test_a_folder_may_have_any_name(bench):
    folder = bench.folder = bench.folder / "a?b=1#c%20{d}"
    start(bench, trials=2)
    assert (folder / "deep" / "search.sqlite").stat().st_size > 0
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_place_that_cannot_be_written_is_said(bench, monkeypatch):
    import optuna

    def full(self, *arguments, **options):
        raise optuna.exceptions.StorageInternalError("database or disk is full")

    monkeypatch.setattr(optuna.storages.RDBStorage, "_create_new_trial", full)
    with pytest.raises(StorageError, match=r"could not write .*database or disk is full.*free some space"):
        start(bench)


def test_the_level_of_optunas_messages_is_left_as_it_was(bench, capsys):
    import optuna

    before = optuna.logging.get_verbosity()
    start(bench, trials=2)
    assert optuna.logging.get_verbosity() == before
    assert capsys.readouterr().err == ""


KILLED = """
import os, signal, sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import polars as pl

spec = spec_from_file_location("noisy", sys.argv[1])
noisy = module_from_spec(spec)
sys.modules["noisy"] = noisy
spec.loader.exec_module(noisy)
from demur.config import parse_settings
from demur.data import Records
from demur.experiment._search_config import Dimension, SearchConfig
from demur.experiment._search_optuna import Journal, run_study

bench = noisy.Bench(Records(pl.read_parquet(sys.argv[2])), Path(sys.argv[3]))
real = bench.fit

def fit(settings, rows, on_progress=None):
    if len(bench.fitted) == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(settings, rows, on_progress)

bench.fit = fit
space = {"shift": Dimension(low=0, high=1), "width": Dimension(low=1, high=9, int=True)}
config = parse_settings(SearchConfig, {"trials": 12, "pruner": "median"})
run_study(bench.problem(), space, config, 7, Journal(bench.folder / "deep" / "search.sqlite", "study"), bench.tell)
"""


def test_a_search_killed_in_the_middle_of_a_trial_ends_as_an_unbroken_one(bench, tmp_path):
    table = tmp_path / "rows.parquet"
    bench.records.frame.write_parquet(table)
    arguments = [str(Path(__file__).with_name("noisy.py")), str(table), str(bench.folder)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = start(bench, trials=12, pruner="median")
    assert 0 < len(bench.fitted) < sum(trial.fits for trial in resumed)
    assert figures(resumed) == figures(start(bench, trials=12, pruner="median", file="whole.sqlite"))
