"""Tests of the grid: what brute force finds, and failures as rows."""

import itertools

import numpy as np
import pytest

from demur.errors import StorageError
from demur.experiment._search_config import Dimension
from demur.experiment._search_grid import run_grid
from demur.experiment._search_space import params_key
from demur.experiment._search_trial import Problem, make_folds, run_trial
from demur.metrics import make_scorer
from demur.models.classical import ClassicalClassifier, ClassicalConfig
from demur.tasks import REFUSAL

GRID = {"shift": (0.1, 0.4, 0.9), "width": (1, 30)}


def space(**choices):
    return {name: Dimension(choices=found) for name, found in choices.items()}


def by_params(trials):
    return {params_key(trial.params): trial for trial in trials}


@pytest.mark.parametrize("metric", ["custom_score", "f1_macro", "neg_ece"])
def test_a_grid_finds_what_brute_force_finds(bench, metric):
    problem = bench.problem(metric)
    brute = [
        run_trial(problem, dict(zip(GRID, values, strict=True))) for values in itertools.product(*GRID.values())
    ]
    found = run_grid(problem, space(**GRID), 1, bench.tell_words)
    assert len(found) == len(brute) == 6
    for key, trial in by_params(found).items():
        assert trial.scores == pytest.approx(by_params(brute)[key].scores)
        assert (trial.state, trial.fits, trial.epochs) == ("complete", 3, 3.0)
    best = max(found, key=lambda trial: trial.score)
    assert best.params == max(brute, key=lambda trial: trial.score).params
    assert metric == "neg_ece" or best.params == {"shift": 0.4, "width": 1}


def test_every_fit_sees_training_rows_of_its_fold_alone(bench):
    problem = bench.problem()
    run_grid(problem, space(shift=(0.1, 0.4)), 1, bench.tell_words)
    ids = np.array(bench.records.texts("id"))
    wanted = [(set(ids[train]), set(ids[test])) for train, test in problem.folds]
    assert [(one.seen, one.asked) for one in bench.fitted] == wanted * 2
    assert bench.told == ["a grid of 2 settings on 3 folds"]


def test_what_fails_is_a_row_with_its_reason_and_ends_nothing(bench):
    found = run_grid(bench.problem(), space(outcome=("raises", "ok", "nan", "memory")), 1, bench.tell_words)
    assert [trial.state for trial in found] == ["failed", "complete", "failed", "failed"]
    reasons = [trial.reason for trial in found]
    assert reasons[0] == "ValueError: this setting does not work"
    assert "NaN or infinite" in reasons[2]
    assert reasons[3] == "MemoryError"


def test_where_all_fail_all_are_rows(bench):
    found = run_grid(bench.problem(), space(outcome=("raises", "memory")), 1, bench.tell_words)
    assert [(trial.state, trial.reason) for trial in found] == [
        ("failed", "ValueError: this setting does not work"),
        ("failed", "MemoryError"),
    ]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_ends_the_search_and_is_no_failed_fit(small_records, jobs):
    folds = make_folds(small_records, REFUSAL, np.arange(60), 2, 0)

    def full(settings, rows, on_progress=None):
        raise OSError(28, "No space left on device")

    problem = Problem(REFUSAL, small_records, folds, ClassicalConfig(), full, make_scorer(REFUSAL))
    with pytest.raises(StorageError, match="no disk space left while searching; free some space"):
        run_grid(problem, space(min_df=(1, 2)), jobs, print)


@pytest.mark.slow
def test_processes_of_their_own_find_the_same(small_records):
    def fit(settings, rows, on_progress=None):
        return ClassicalClassifier(REFUSAL, settings).fit(small_records.take(rows))

    folds = make_folds(small_records, REFUSAL, np.arange(60), 2, 0)
    grid = space(min_df=(1, 50))
    one, two = (
        run_grid(
            Problem(REFUSAL, small_records, folds, ClassicalConfig(), fit, make_scorer(REFUSAL)), grid, jobs, print
        )
        for jobs in (1, 2)
    )
    assert [(t.state, t.scores) for t in one] == [(t.state, t.scores) for t in two]
    assert one[1].reason == "no term occurs in 50 of the 30 training rows; lower min_df or add rows"
    assert "a fit failed in its own process" in two[1].reason
