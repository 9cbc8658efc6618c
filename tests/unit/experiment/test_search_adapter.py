"""Tests of a classifier as scikit-learn has estimators."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.model_selection import cross_val_score

from demur.errors import StorageError, TrainingError
from demur.experiment._search_adapter import SearchEnded, as_estimator
from demur.experiment._search_trial import run_trial


def test_it_is_cloned_and_set_as_any_estimator(bench):
    estimator = as_estimator(bench.problem())
    copy = clone(estimator).set_params(shift=0.4)
    assert is_classifier(copy)
    assert copy.problem is estimator.problem
    copy.fit(np.arange(60)[:, None])
    assert copy.classifier_.config.shift == 0.4
    assert clone(copy).fit(np.arange(60)).classifier_.config.shift == 0.9


def test_rows_are_positions_in_the_records(bench):
    estimator = as_estimator(bench.problem()).fit([[3], [4], [7], [9]])
    assert bench.fitted[0].seen == {"r3", "r4", "r7", "r9"}
    assert estimator.predict_proba([[11], [12]]).shape == (2, 3)
    assert bench.fitted[0].asked == {"r11", "r12"}
    assert estimator.classes_.tolist() == [0, 1, 2]


def test_scikit_learn_scores_it_as_a_trial_is_scored(bench):
    problem = bench.problem(shift=0.6)
    rows = np.arange(90)
    found = cross_val_score(
        as_estimator(problem),
        rows[:, None],
        bench.records.take(rows).targets(problem.task),
        scoring=problem.scorer,
        cv=list(problem.folds),
    )
    assert found.tolist() == run_trial(problem, {}).scores


def test_why_a_fit_failed_is_kept(bench):
    problem = bench.problem()
    with pytest.raises(ValueError, match="this setting"):
        as_estimator(problem).set_params(outcome="raises").fit(np.arange(60))
    with pytest.raises(TrainingError, match="NaN or infinite"):
        as_estimator(problem).set_params(outcome="nan").fit(np.arange(60)).predict([3])
    assert problem.failures == {
        '{"outcome": "raises"}': "ValueError: this setting does not work",
        '{"outcome": "nan"}': "the fitted model gives NaN or infinite probabilities for 1 of 1 rows",
    }


def test_a_full_disk_is_not_kept_as_the_reason_of_one_fit(bench, monkeypatch):
    problem = bench.problem()
    estimator = as_estimator(problem).fit(np.arange(60))

    def full(records):
        raise StorageError("the disk is full")

    monkeypatch.setattr(estimator.classifier_, "predict_proba", full)
    with pytest.raises(SearchEnded, match="the disk is full"):
        estimator.predict([3])
    assert problem.failures == {}
