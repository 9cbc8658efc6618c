"""Tests of a trial: the mean over grouped folds, and every way in which it may end."""

from dataclasses import replace

import numpy as np
import pytest

from demur.data import Records
from demur.errors import StorageError, TrainingError
from demur.experiment._search_trial import (
    TrialPruned,
    describe_failure,
    make_folds,
    predict_rows,
    run_trial,
    score_rows,
)
from demur.metrics import security_score
from demur.tasks import REFUSAL


def test_folds_part_the_rows_given_by_group(bench):
    groups = bench.records.groups()
    rows = np.arange(10, 70)
    folds = make_folds(bench.records, REFUSAL, rows, 4, 0)
    assert sorted(np.concatenate([test for _, test in folds])) == rows.tolist()
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == rows.tolist()


def test_fewer_groups_than_folds_make_fewer_folds(bench):
    assert len(make_folds(bench.records, REFUSAL, np.arange(6), 5, 0)) == 3


def test_one_group_cannot_be_searched(bench):
    records = Records.from_rows(
        [{"group": "one", "prompt": "one", "response": "a", "refusal": REFUSAL.labels[n % 2]} for n in range(4)]
    )
    with pytest.raises(
        TrainingError, match="needs at least 2 groups of training rows, there is 1; give more prompts"
    ):
        make_folds(records, REFUSAL, np.arange(4), 3, 0)


def test_the_score_is_the_mean_of_the_folds_own_scores(bench):
    problem = bench.problem()
    trial = run_trial(problem, {"shift": 0.5})
    wanted = []
    for classifier, (train, test) in zip(bench.fitted, problem.folds, strict=True):
        part = bench.records.take(test)
        assert classifier.seen == set(bench.records.take(train).texts("id"))
        found = classifier.predict_proba(part).argmax(axis=1)
        wanted.append(security_score(REFUSAL, part.targets(REFUSAL), found).value)
    assert (trial.state, trial.scores) == ("complete", pytest.approx(wanted))
    assert trial.score == pytest.approx(np.mean(wanted))
    assert trial.std == pytest.approx(np.std(wanted, ddof=1))
    assert (trial.fits, trial.epochs) == (3, 3.0)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("nan", "the fitted model gives NaN or infinite probabilities for 30 of 30 rows"),
        ("raises", "ValueError: this setting does not work"),
        ("memory", "MemoryError"),
    ],
)
def test_a_trial_that_fails_has_its_reason_in_one_line(bench, outcome, reason):
    trial = run_trial(bench.problem(), {"outcome": outcome})
    assert (trial.state, trial.score, trial.std, trial.fits) == ("failed", None, None, 1)
    assert trial.reason == reason


def test_values_that_do_not_go_together_fail_the_trial_alone(bench):
    trial = run_trial(bench.problem(), {"shift": 7})
    assert (trial.state, trial.fits) == ("failed", 0)
    assert "key 'shift'" in trial.reason


def test_a_metric_that_the_rows_do_not_allow_fails_the_trial(bench):
    trial = run_trial(bench.problem("recall_at_fpr_0_1"), {})
    assert trial.state == "failed"
    assert "'recall_at_fpr_0_1' is not defined on a fold of 30 rows; take another metric" in trial.reason


def test_a_full_disk_ends_the_search(bench):
    with pytest.raises(StorageError, match="no disk space left while searching"):
        describe_failure(OSError(28, "No space left on device"))
    with pytest.raises(StorageError, match="gone"):
        describe_failure(StorageError("gone"))


def test_an_interruption_ends_the_search(bench, monkeypatch):
    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.problem().fit.__self__, "fit", interrupted.__get__(bench))
    with pytest.raises(KeyboardInterrupt):
        run_trial(bench.problem(), {})


def test_the_mean_so_far_is_reported_after_every_fold_but_the_last(bench):
    reports = []
    trial = run_trial(bench.problem(), {"shift": 0.5}, lambda value, step: reports.append((step, value)))
    assert reports == [(1, trial.scores[0]), (2, pytest.approx(np.mean(trial.scores[:2])))]


def test_a_report_may_end_the_trial(bench):
    def report(value, step):
        if step == 2:
            raise TrialPruned

    trial = run_trial(bench.problem(), {}, report)
    assert (trial.state, trial.fits, len(trial.scores), trial.reason) == ("pruned", 2, 2, None)


def test_a_training_in_steps_reports_each_validation_within_its_fold(bench):
    reports = []
    trial = run_trial(
        bench.problem(most_epochs=3), {"shift": 0.3}, lambda value, step: reports.append((step, value))
    )
    assert [step for step, _ in reports] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    first, done = [value for _, value in reports[:3]], trial.scores[0]
    assert first == pytest.approx([1 / 3, 2 / 3, 1])
    assert reports[3] == (4, done)
    assert reports[4] == (5, pytest.approx((done + 1 / 3) / 2))
    assert trial.epochs == 9


def test_a_training_may_be_ended_in_its_first_fold(bench):
    def report(value, step):
        raise TrialPruned

    trial = run_trial(bench.problem(most_epochs=3), {}, report)
    assert (trial.state, trial.fits, trial.epochs, trial.scores) == ("pruned", 1, 1.0, [])


def test_another_metric_than_that_of_training_is_reported_after_folds_alone(bench):
    reports = []
    run_trial(bench.problem("f1_macro", most_epochs=3), {}, lambda value, step: reports.append(step))
    assert reports == [4, 8]


def test_validations_on_several_tasks_are_not_mixed_with_the_folds_of_one(bench):
    reports = []
    problem = replace(bench.problem(most_epochs=3), has_own_score=False)
    trial = run_trial(problem, {}, lambda value, step: reports.append(step))
    assert (reports, trial.epochs) == ([4, 8], 9)


def test_metrics_of_probabilities_can_be_searched_by(bench):
    problem = bench.problem("neg_ece")
    classifier = bench.fit(problem.settings, problem.folds[0][0])
    assert -1 <= score_rows(problem, classifier, problem.folds[0][1]) <= 0


def test_infinite_probabilities_are_told_by_their_number(bench):
    problem = bench.problem(outcome="nan")
    classifier = bench.fit(problem.settings, problem.folds[0][0])
    with pytest.raises(TrainingError, match="NaN or infinite probabilities for 5 of 5 rows"):
        predict_rows(classifier, bench.records.take(np.arange(5)))
