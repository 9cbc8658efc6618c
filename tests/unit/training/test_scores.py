"""What chooses between checkpoints: the security score, smoothed, ties broken by the loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from demur.metrics import security_score
from demur.tasks import JAILBREAK, REFUSAL
from demur.training import multi_task_score, validation_score
from demur.training._scores import choice_figure, softmax

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def test_validation_score_is_the_security_score_of_the_likeliest_class() -> None:
    targets = np.array([0, 1, 2])
    assert validation_score(REFUSAL)(targets, np.eye(3)) == pytest.approx(1)
    assert validation_score(REFUSAL)(targets, np.eye(3)[[1, 0, 2]]) < 0.1


def test_an_epoch_that_never_names_a_common_class_scores_nothing() -> None:
    targets = np.array([0] * 10 + [1] * 10 + [2] * 10)
    asleep = np.array([0] * 10 + [2] * 20)
    awake = np.array([0] * 10 + [2] * 10 + [1] * 10)
    score = validation_score(REFUSAL)
    assert score(targets, np.eye(3)[asleep]) == 0 < security_score(REFUSAL, targets, asleep).value
    assert score(targets, np.eye(3)[awake]) == security_score(REFUSAL, targets, awake).value > 0


def test_a_class_of_few_rows_may_go_without_a_verdict() -> None:
    targets = np.array([0] * 10 + [1] * 10 + [2] * 4)
    called = np.array([0] * 10 + [1] * 14)
    assert validation_score(REFUSAL)(targets, np.eye(3)[called]) > 0


def test_the_score_of_heads_is_the_mean_over_those_with_labels() -> None:
    score = multi_task_score({"refusal": REFUSAL, "jailbreak": JAILBREAK})
    probabilities = {"refusal": np.eye(3), "jailbreak": np.eye(2)[[0, 1, 0]]}
    both = np.array([[0, 0], [1, 0], [2, -100]])
    alone = validation_score(JAILBREAK)(both[:2, 1], probabilities["jailbreak"][:2])
    assert score(both, probabilities) == pytest.approx((1 + alone) / 2)
    both[:, 1] = -100
    assert score(both, probabilities) == pytest.approx(1)
    assert score(np.full((3, 2), -100), probabilities) == 0


@given(SCORES, st.floats(0, 100))
def test_the_loss_never_outweighs_a_score(scores: list[float], loss: float) -> None:
    assert choice_figure(scores, loss, "score") == pytest.approx(scores[-1], abs=1e-6)


@given(SCORES)
def test_between_equal_scores_the_lower_loss_wins(scores: list[float]) -> None:
    assert choice_figure(scores, 0.1, "smoothed") > choice_figure(scores, 0.2, "smoothed")


def test_a_smoothed_score_is_the_weighted_mean_of_three() -> None:
    assert choice_figure([0.9, 0.2, 0.4, 0.8], 0.0, "smoothed") == pytest.approx((4 * 0.8 + 2 * 0.4 + 0.2) / 7)
    assert choice_figure([0.4, 0.8], 0.0, "smoothed") == pytest.approx((4 * 0.8 + 2 * 0.4) / 6)
    assert choice_figure([0.4], 0.0, "smoothed") == 0.4


def test_one_lucky_validation_does_not_outshine_a_steady_rise() -> None:
    scores = [0.5, 0.82, 0.6, 0.8, 0.81]
    figures = [choice_figure(scores[: number + 1], 0.5, "smoothed") for number in range(len(scores))]
    assert int(np.argmax(figures)) == 4


def test_softmax_equals_scipy_also_by_head() -> None:
    logits = np.random.default_rng(0).normal(0, 50, (5, 3))
    np.testing.assert_allclose(softmax(logits), special.softmax(logits, axis=1))
    np.testing.assert_allclose(softmax({"a": logits})["a"], special.softmax(logits, axis=1))
