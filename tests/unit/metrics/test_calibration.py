import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from demur.metrics import (
    ReliabilityCurve,
    brier_score,
    expected_calibration_error,
    log_losses,
    reliability_curve,
)
from demur.metrics._calibration import equal_mass_bins, top_label


def sample(seed, n, k=3):
    generator = np.random.default_rng(seed)
    return generator.integers(0, k, n), generator.dirichlet(np.ones(k), n)


def plain_error(y, probabilities, bins):
    """Equal-mass bins cut from the sorted rows; for distinct confidences."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    order, n, total = np.argsort(confidence), len(y), 0.0
    place = np.floor((np.arange(n) + 0.5) * bins / n).astype(int)
    for number in range(bins):
        rows = order[place == number]
        if len(rows):
            total += len(rows) / n * abs(confidence[rows].mean() - right[rows].mean())
    return total


@given(st.integers(0, 10_000), st.integers(1, 120), st.integers(1, 20))
def test_error_is_the_plain_loop_over_equal_mass_bins(seed, n, bins):
    y, p = sample(seed, n)
    assert expected_calibration_error(y, p, bins) == pytest.approx(plain_error(y, p, bins))


@given(st.integers(0, 10_000), st.integers(15, 200))
def test_bins_of_distinct_confidences_differ_by_at_most_one_row(seed, n):
    _, p = sample(seed, n)
    counts = np.bincount(equal_mass_bins(p.max(axis=1)), minlength=15)
    assert counts.max() - counts.min() <= 1


CONFIDENCES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(0, 6).map(lambda v: v / 6))


@given(CONFIDENCES)
def test_equal_confidences_share_a_bin(confidence):
    number = equal_mass_bins(confidence)
    for value in np.unique(confidence):
        assert len(set(number[confidence == value].tolist())) == 1


@given(CONFIDENCES, st.data())
def test_a_weight_bins_as_that_many_rows(confidence, data):
    weights = data.draw(hnp.arrays(np.int64, len(confidence), elements=st.integers(1, 4)))
    weighted = equal_mass_bins(confidence, 15, weights)
    repeated = equal_mass_bins(np.repeat(confidence, weights))
    np.testing.assert_array_equal(np.repeat(weighted, weights), repeated)


@given(st.integers(0, 10_000), st.integers(1, 80))
def test_order_of_rows_does_not_matter(seed, n):
    y, p = sample(seed, n)
    p = np.round(p, 1)
    order = np.random.default_rng(seed).permutation(n)
    assert expected_calibration_error(y[order], p[order]) == pytest.approx(expected_calibration_error(y, p))


def test_error_of_certain_and_right_answers_is_zero():
    assert expected_calibration_error(np.array([0, 1, 2]), np.eye(3)) == 0


def test_error_of_certain_and_wrong_answers_is_one():
    assert expected_calibration_error(np.array([1, 2, 0]), np.eye(3)) == 1


def test_error_of_outcomes_drawn_from_the_probabilities_is_near_zero():
    generator = np.random.default_rng(3)
    p = generator.dirichlet(np.ones(3), 40_000)
    y = (p.cumsum(axis=1) > generator.random((40_000, 1))).argmax(axis=1)
    assert expected_calibration_error(y, p) < 0.01


def test_top_label_says_how_sure_and_whether_right():
    confidence, right = top_label(np.array([1, 0]), np.array([[0.4, 0.6], [0.3, 0.7]]))
    assert confidence.tolist() == [0.6, 0.7]
    assert right.tolist() == [1.0, 0.0]


def test_curve_has_a_point_for_each_bin_that_holds_rows():
    y, p = sample(0, 300)
    curve = reliability_curve(y, p)
    assert curve.count.tolist() == [20] * 15
    assert (np.diff(curve.confidence) > 0).all()
    assert curve.error == pytest.approx(expected_calibration_error(y, p))


def test_curve_of_tied_confidences_has_fewer_points():
    curve = reliability_curve(np.array([0, 0, 1, 1]), np.tile([0.75, 0.25], (4, 1)))
    assert curve.confidence.tolist() == [0.75]
    assert curve.accuracy.tolist() == [0.5]
    assert curve.error == 0.25


def test_curve_frame_has_an_interval_round_each_accuracy():
    frame = reliability_curve(*sample(1, 100)).frame()
    assert frame.columns == ["confidence", "accuracy", "low", "high", "n"]
    assert frame["n"].sum() == 100
    assert ((frame["low"] <= frame["accuracy"]) & (frame["accuracy"] <= frame["high"])).all()


def test_curve_cannot_be_changed():
    curve = ReliabilityCurve(np.array([0.5]), np.array([0.5]), np.array([1]))
    with pytest.raises(AttributeError, match="cannot assign"):
        curve.level = 0.5


@given(st.integers(0, 10_000), st.integers(3, 60))
def test_brier_score_is_scikit_learns(seed, n):
    y, p = sample(seed, n)
    expected = sk.brier_score_loss(y, p, labels=[0, 1, 2], scale_by_half=False)
    assert brier_score(y, p) == pytest.approx(expected)


def test_brier_score_of_two_classes_is_twice_that_of_one_column():
    y, p = sample(5, 50, k=2)
    assert brier_score(y, p) == pytest.approx(2 * np.mean((p[:, 1] - y) ** 2))


@given(st.integers(0, 10_000))
def test_mean_log_loss_is_that_of_scikit_learn(seed):
    y, p = sample(seed, 40)
    assert log_losses(y, p).mean() == pytest.approx(sk.log_loss(y, p, labels=[0, 1, 2]))


def test_a_sure_mistake_costs_much_but_not_without_bound():
    found = log_losses(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert found.tolist() == pytest.approx([7 * np.log(10), 0])
