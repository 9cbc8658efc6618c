"""Tests of adaptive class weights: what raises them, what is kept, and that only a part of the rows is watched."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from demur.models.classical import ClassicalConfig, _adaptive
from demur.models.classical._adaptive import (
    Schedule,
    TrainingRows,
    fit_by_schedule,
    learn_schedule,
    split_rounds,
)
from demur.models.classical._config import ADAPTIVE, BOOSTED
from demur.models.classical._heads import balance_weights, fit_head, new_head
from demur.tasks import PROMPT_RISK

DRAW = np.random.default_rng(1)
TARGETS = np.repeat([0, 1, 2], [120, 50, 20])
CENTRES = np.array([[1.0, 0.3, 0.2, 0.2], [0.4, 0.9, 0.3, 0.2], [0.7, 0.7, 0.4, 0.3]])
MATRIX = sp.csr_matrix(np.abs(CENTRES[TARGETS] + DRAW.normal(scale=0.35, size=(190, 4))))
ROWS = TrainingRows(MATRIX, TARGETS, np.arange(190) // 2, np.arange(3))


def config(head, **settings):
    return ClassicalConfig(
        head=head, balance="adaptive", **{"trees": 24, "threads": 1, "evaluations": 6, "components": 3} | settings
    )


def all_columns(matrix, targets):
    return None


def learn(head, rows=ROWS, **settings):
    return learn_schedule(PROMPT_RISK, config(head, **settings), rows, all_columns, 0)


@given(trees=st.integers(1, 400), evaluations=st.integers(2, 50))
def test_the_parts_of_the_rounds_are_even_and_sum_to_all(trees, evaluations):
    parts = split_rounds(ClassicalConfig(head="xgboost", trees=trees, evaluations=evaluations))
    assert sum(parts) == trees
    assert min(parts) >= 1
    assert max(parts) - min(parts) <= 1
    assert len(parts) == min(trees, evaluations)


@pytest.mark.parametrize("head", ADAPTIVE)
def test_the_class_at_fault_is_raised_and_the_cause_is_told(head):
    told = learn(head).trajectory
    assert told["changes"]
    assert set(told["changes"][0]) == {"step", "class", "from", "to", "metric", "value", "target"}
    assert told["initial"] == {"benign": 1.0, "suspicious": 1.0, "malicious": 1.0}
    assert told["final_alpha"] != told["initial"]
    assert told["base"] == "balanced"
    assert 0 < told["rows_watched"] < 190 / 3


@pytest.mark.parametrize("head", ["logreg", "xgboost"])
def test_targets_that_are_met_change_nothing(head):
    controller = {
        "recall": 0.01,
        "precision": 0.01,
        "f1": 0.01,
        "false_alarm_rate": 0.99,
        "missed_threat_rate": 0.99,
    }
    found = learn(head, controller=controller)
    assert found.trajectory["changes"] == []
    assert all((weights == 1).all() for weights in found.weights)


@pytest.mark.parametrize("head", BOOSTED)
def test_boosters_have_weights_for_every_part_of_their_rounds(head):
    found = learn(head)
    assert len(found.weights) == 6
    steps = [change["step"] for change in found.trajectory["changes"]]
    assert set(steps) <= {4, 8, 12, 16, 20}
    assert found.trajectory["chosen"] == found.trajectory["final_alpha"]


def test_of_refits_the_weights_of_the_best_score_are_kept():
    found = learn("logreg", evaluations=12)
    scores = found.trajectory["scores"]
    by_step = [np.ones(3)]
    for change in found.trajectory["changes"]:
        later = by_step[-1].copy()
        later[PROMPT_RISK.label_id(change["class"])] = change["to"]
        by_step.append(later)
    assert any(np.allclose(found.weights[0], weights) for weights in by_step)
    assert (
        len(scores) == len({change["step"] for change in found.trajectory["changes"] if change["step"] < 12}) + 1
    )


def test_weights_that_did_not_change_are_not_fitted_again(monkeypatch):
    fits, real = [], _adaptive.fit_head
    monkeypatch.setattr(_adaptive, "fit_head", lambda *given: fits.append(1) or real(*given))
    found = learn("logreg", evaluations=12, controller={"patience": 4})
    assert len(fits) == len(found.trajectory["scores"]) <= 3
    assert found.trajectory["evaluations"] == 12


@pytest.mark.parametrize("head", ["logreg", "lightgbm"])
def test_columns_are_chosen_by_the_rows_that_are_learned_from(head):
    seen = []

    def choose(matrix, targets):
        seen.append(matrix.shape)
        return np.array([0, 2])

    told = learn_schedule(PROMPT_RISK, config(head), ROWS, choose, 0).trajectory
    assert seen == [(190 - told["rows_watched"], 4)]


def test_groups_do_not_straddle_what_is_learned_and_watched():
    parts = []

    class Watch(_adaptive._Watch):
        def boost(self):
            parts.extend([self.learned, self.watched])
            return super().boost()

    original, _adaptive._Watch = _adaptive._Watch, Watch
    try:
        learn("xgboost")
    finally:
        _adaptive._Watch = original
    learned, watched = parts
    assert not set(learned.groups) & set(watched.groups)
    assert len(learned.targets) + len(watched.targets) == 190


@pytest.mark.parametrize("head", ADAPTIVE)
def test_a_schedule_of_ones_is_plain_balance(head):
    ones = Schedule([np.ones(3)] * 24, {})
    settings = config(head, evaluations=24)
    found = fit_by_schedule(settings, ROWS, ones, 0).predict_proba(MATRIX)
    if head in BOOSTED:  # rounds in parts draw other rows than all at once
        assert found.shape == (190, 3)
        return
    plain = fit_head(new_head(settings, 0, ROWS.folds(settings, 0)), MATRIX, TARGETS, balance_weights(TARGETS))
    np.testing.assert_allclose(found, plain.predict_proba(MATRIX))


@pytest.mark.parametrize("head", ["logreg", "xgboost"])
def test_a_raised_class_is_predicted_more_often(head):
    settings = config(head, evaluations=2)
    counts = [
        (
            fit_by_schedule(settings, ROWS, Schedule([weights] * 2, {}), 0).predict_proba(MATRIX).argmax(axis=1)
            == 2
        ).sum()
        for weights in (np.ones(3), np.array([1.0, 1.0, 3.0]))
    ]
    assert counts[1] > counts[0]


@pytest.mark.parametrize("head", ADAPTIVE)
def test_a_class_missing_from_the_rows_is_no_gap(head):
    rows = TrainingRows(MATRIX[:170], TARGETS[:170], np.arange(170), np.array([0, 2]))
    told = learn(head, rows).trajectory
    assert set(told["chosen"]) == {"benign", "malicious"}


def test_the_same_seed_gives_the_same_schedule():
    one, two = learn("lightgbm"), learn("lightgbm")
    assert one.trajectory == two.trajectory
