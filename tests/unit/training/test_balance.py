"""Weights start where they should, and are raised for the class at fault, no sooner and no further than said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.tasks import JAILBREAK, PROMPT_RISK, REFUSAL, Task
from demur.training import BalanceConfig, WeightController, balanced_weights
from demur.training._balance import default_alpha

BENIGN, SUSPICIOUS, MALICIOUS = 0, 1, 2
PERFECT = np.repeat([0, 1, 2], 20)
CLASSES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def predict(**moved: tuple[int, int, int]) -> np.ndarray:
    """Perfect predictions, but for some rows: name to (true, predicted, how many)."""
    found = PERFECT.copy()
    for true, predicted, count in moved.values():
        found[np.flatnonzero(true == PERFECT)[:count]] = predicted
    return found


def raised_after(predicted: np.ndarray, evaluations: int, **config: float) -> list[tuple[str, str]]:
    controller = WeightController(PROMPT_RISK, BalanceConfig(**config))  # type: ignore[arg-type]
    changes = [change for step in range(evaluations) for change in controller.observe(PERFECT, predicted, step)]
    return [(change.label, change.metric) for change in changes]


def lenient(**targets: float) -> dict[str, float]:
    """Targets everybody meets, but for those given."""
    met = {"recall": 1e-6, "precision": 1e-6, "f1": 1e-6, "false_alarm_rate": 0.99, "missed_threat_rate": 0.99}
    return met | targets


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array))
def test_balanced_weights_give_every_present_class_the_same_total(targets: np.ndarray) -> None:
    weights = balanced_weights(targets, 4)
    counts = np.bincount(targets, minlength=4)
    totals = (weights * counts)[counts > 0]
    assert np.allclose(totals, totals[0])
    assert weights[targets].mean() == pytest.approx(1)
    assert (weights[counts == 0] == 1).all()


def test_default_alpha_favours_the_class_that_weighs_most_in_the_score() -> None:
    assert default_alpha(PROMPT_RISK).tolist() == [1, 1, 1.5]
    assert default_alpha(REFUSAL).tolist() == [1, 1, 1.5]
    assert default_alpha(JAILBREAK).tolist() == [1, 1.5]
    assert default_alpha(Task(name="own", labels=("a", "b"))).tolist() == [1, 1]


def test_nothing_is_raised_while_all_targets_are_met() -> None:
    assert raised_after(PERFECT, 10) == []


def test_patience_is_waited_for() -> None:
    missing = predict(a=(MALICIOUS, SUSPICIOUS, 4))
    assert raised_after(missing, 1, **lenient(recall=0.95)) == []
    assert raised_after(missing, 2, **lenient(recall=0.95)) == [("malicious", "recall[malicious]")]
    assert len(raised_after(missing, 3, **lenient(recall=0.95))) == 1
    assert len(raised_after(missing, 4, **lenient(recall=0.95))) == 2


def test_a_target_met_in_between_starts_the_count_again() -> None:
    controller = WeightController(PROMPT_RISK, BalanceConfig(**lenient(recall=0.95)))  # type: ignore[arg-type]
    missing = predict(a=(MALICIOUS, SUSPICIOUS, 4))
    for predicted in (missing, PERFECT, missing, PERFECT):
        assert controller.observe(PERFECT, predicted, 0) == []


def test_a_low_recall_is_its_own_classes_fault() -> None:
    found = raised_after(predict(a=(MALICIOUS, BENIGN, 6)), 2, **lenient(recall=0.95))
    assert found == [("malicious", "recall[malicious]")]


def test_a_low_precision_is_the_fault_of_the_class_most_often_mistaken_for_it() -> None:
    wrong = predict(a=(BENIGN, SUSPICIOUS, 9), b=(MALICIOUS, SUSPICIOUS, 3))
    assert raised_after(wrong, 2, **lenient(precision=0.8)) == [("benign", "precision[suspicious]")]
    wrong = predict(a=(BENIGN, SUSPICIOUS, 3), b=(MALICIOUS, SUSPICIOUS, 9))
    assert raised_after(wrong, 2, **lenient(precision=0.8)) == [("malicious", "precision[suspicious]")]


def test_a_class_that_is_never_predicted_is_itself_at_fault() -> None:
    silent = predict(a=(SUSPICIOUS, BENIGN, 20))
    assert raised_after(silent, 2, **lenient(precision=0.8)) == [("suspicious", "precision[suspicious]")]


def test_a_low_f1_is_the_fault_of_the_more_frequent_error() -> None:
    missed = predict(a=(BENIGN, SUSPICIOUS, 12))
    assert raised_after(missed, 2, **lenient(f1=0.75)) == [("benign", "f1[benign]")]
    overrun = predict(a=(SUSPICIOUS, BENIGN, 16), b=(MALICIOUS, BENIGN, 2))
    assert raised_after(overrun, 2, **lenient(f1=0.75)) == [("suspicious", "f1[benign]")]


def test_false_alarms_raise_the_safe_class_and_missed_threats_the_threat() -> None:
    alarms = predict(a=(BENIGN, MALICIOUS, 2))
    assert raised_after(alarms, 2, **lenient(false_alarm_rate=0.02)) == [("benign", "false_alarm_rate")]
    missed = predict(a=(MALICIOUS, BENIGN, 2))
    assert raised_after(missed, 2, **lenient(missed_threat_rate=0.02)) == [("malicious", "missed_threat_rate")]


def test_of_two_threats_the_one_missed_more_often_is_raised() -> None:
    controller = WeightController(REFUSAL, BalanceConfig(**lenient(missed_threat_rate=0.02)))  # type: ignore[arg-type]
    wrong = predict(a=(1, 0, 2), b=(2, 0, 5))
    controller.observe(PERFECT, wrong, 0)
    assert [change.label for change in controller.observe(PERFECT, wrong, 1)] == ["soft_refusal"]


def test_an_evaluation_raises_a_class_once() -> None:
    found = raised_after(predict(a=(MALICIOUS, BENIGN, 8)), 2, **lenient(recall=0.95, missed_threat_rate=0.02))
    assert len(found) == 1


def test_not_every_class_is_raised_at_once() -> None:
    controller = WeightController(JAILBREAK)
    true = np.repeat([0, 1], 10)
    wrong = 1 - true
    wrong[0] = 0
    for step in range(40):
        assert len(controller.observe(true, wrong, step)) <= 1


def test_weights_stay_within_their_bounds() -> None:
    controller = WeightController(PROMPT_RISK, BalanceConfig(alpha_step=0.8), initial=[0.1, 1, 9])
    assert controller.weights.tolist() == [0.5, 1, 3]
    for step in range(30):
        controller.observe(PERFECT, np.roll(PERFECT, 20), step)
    assert controller.weights.max() == 3
    assert controller.weights.min() >= 0.5


def test_a_class_that_no_row_has_is_not_judged() -> None:
    controller = WeightController(PROMPT_RISK, BalanceConfig(patience=1))
    assert controller.observe([0, 0, 1], [0, 0, 1], 0) == []


@given(CLASSES)
def test_figures_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    true, predicted = np.array(rows).T
    controller = WeightController(PROMPT_RISK)
    confusion = np.zeros((3, 3))
    np.add.at(confusion, (true, predicted), 1)
    wanted = {
        "recall[malicious]": (recall_score, MALICIOUS),
        "precision[suspicious]": (precision_score, SUSPICIOUS),
        "f1[benign]": (f1_score, BENIGN),
    }
    for watch in controller._watches:
        if watch.name in wanted:
            score, label = wanted[watch.name]
            expected = score(true, predicted, labels=[label], average="macro", zero_division=0)
            assert np.isnan(watch.measure(confusion)) or watch.measure(confusion) == pytest.approx(expected)
            assert np.isnan(watch.measure(confusion)) == (label not in true)


def test_the_trajectory_names_every_change_and_its_cause() -> None:
    controller = WeightController(PROMPT_RISK, BalanceConfig(**lenient(recall=0.95)))  # type: ignore[arg-type]
    for step in (10, 20):
        controller.observe(PERFECT, predict(a=(MALICIOUS, BENIGN, 6)), step)
    found = json.loads(json.dumps(controller.trajectory()))
    assert found["initial"] == {"benign": 1, "suspicious": 1, "malicious": 1}
    assert found["final_alpha"] == {"benign": 1, "suspicious": 1, "malicious": 1.1}
    cause = {"metric": "recall[malicious]", "value": 0.7, "target": 0.95}
    assert found["changes"] == [{"step": 20, "class": "malicious", "from": 1, "to": 1.1, **cause}]
    assert found["evaluations"] == 2


@given(st.lists(CLASSES, min_size=2, max_size=6), st.integers(0, 6))
def test_a_restored_controller_goes_on_as_if_nothing_had_happened(
    evaluations: list[list[tuple[int, int]]], cut: int
) -> None:
    whole, first = WeightController(PROMPT_RISK), WeightController(PROMPT_RISK)
    second = WeightController(PROMPT_RISK, initial=[2, 2, 2])
    for step, rows in enumerate(evaluations):
        whole.observe(*np.array(rows).T, step)
        if step == min(cut, len(evaluations) - 1):
            second.restore(json.loads(json.dumps(first.state())))
        (first if step < min(cut, len(evaluations) - 1) else second).observe(*np.array(rows).T, step)
    assert second.trajectory() == whole.trajectory()
    assert second.weights.tolist() == whole.weights.tolist()


def test_bounds_must_leave_room() -> None:
    with pytest.raises(ConfigError, match=r"lowest=4\.0 is not below highest=3\.0"):
        parse_settings(BalanceConfig, {"lowest": 4.0})
