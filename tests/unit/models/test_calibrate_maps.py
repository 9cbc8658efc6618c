import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from demur.metrics import log_losses
from demur.models._calibrate_maps import APPLIES, FITS, fit_isotonic, fit_platt, fit_temperature, log_odds

METHODS = ["temperature", "platt", "isotonic"]
every_method = pytest.mark.parametrize("method", METHODS)


class Given(ClassifierMixin, BaseEstimator):
    """An estimator whose decisions are the columns it is given."""

    def __init__(self, classes=3):
        self.classes = classes
        self.classes_ = np.arange(classes)

    def fit(self, X, y):
        return self

    def decision_function(self, X):
        return X[:, 1] if X.shape[1] == 2 else X

    def predict(self, X):
        return X.argmax(axis=1)


def sample(seed=0, n=400, k=3, sharpness=2.0):
    """Rows whose true probabilities are known, and a model ``sharpness`` times too sure of them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, k)) * 1.5
    honest = softmax(logits, axis=1)
    y = (generator.random(n)[:, None] > honest.cumsum(axis=1)).sum(axis=1)
    return np.minimum(y, k - 1), softmax(sharpness * logits, axis=1)


def sigmoid_of_sklearn(kind, y, columns):
    frozen = FrozenEstimator(Given(columns.shape[1]))
    return CalibratedClassifierCV(frozen, method=kind, cv=[(np.arange(len(y)), np.arange(len(y)))]).fit(columns, y)


@pytest.mark.parametrize("k", [2, 3])
def test_temperature_is_that_of_a_plain_search(k):
    """Of least cross-entropy to one-hot labels that Laplace's rule moves off 0 and 1."""
    y, p = sample(k=k)
    targets = (np.eye(k)[y] * len(y) + 1) / (len(y) + k)

    def loss(inverse):
        return -(targets * log_softmax(np.log(p) * inverse[0], axis=1)).sum(axis=1).mean()

    wanted = minimize(loss, [1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x[0]
    assert 1 / fit_temperature(y, p)["temperature"] == pytest.approx(wanted, rel=1e-4)


def test_temperature_of_two_classes_is_a_logistic_regression_without_intercept():
    y, p = sample(k=2)
    free = LogisticRegression(C=1e12, fit_intercept=False, tol=1e-10, max_iter=1000)
    odds, weights = log_odds(p)[:, 1:], np.repeat([401 / 402, 1 / 402], 400)
    free.fit(np.vstack([odds, odds]), np.concatenate([y, 1 - y]), sample_weight=weights)
    assert 1 / fit_temperature(y, p)["temperature"] == pytest.approx(free.coef_[0, 0], rel=1e-4)


def test_a_model_twice_too_sure_gets_about_temperature_two():
    assert fit_temperature(*sample(n=8000))["temperature"] == pytest.approx(2, rel=0.06)


@pytest.mark.parametrize("rows", [30, 300])
def test_rows_that_are_all_right_do_not_make_the_model_wholly_sure(rows):
    y = np.arange(rows) % 3
    p = np.eye(3)[y] * 0.4 + 0.2
    found = APPLIES["temperature"](fit_temperature(y, p), p)
    assert found.max() == pytest.approx((rows + 1) / (rows + 3), abs=1e-4)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_platt_is_the_sigmoid_calibration_of_scikit_learn(k):
    y, p = sample(k=k)
    ours = APPLIES["platt"](fit_platt(y, p), p)
    wanted = sigmoid_of_sklearn("sigmoid", y, log_odds(p)).predict_proba(log_odds(p))
    np.testing.assert_allclose(ours, wanted, atol=2e-5)


@pytest.mark.parametrize("k", [2, 3])
def test_isotonic_is_that_of_scikit_learn_but_for_zeros_and_ones(k):
    y, p = sample(k=k, n=300)
    steps = fit_isotonic(y, p)["steps"]
    wanted = sigmoid_of_sklearn("isotonic", y, p).calibrated_classifiers_[0].calibrators
    for number, found in enumerate(wanted, start=k - len(wanted)):
        heights = np.interp(p[:, number], *steps[number])
        np.testing.assert_allclose(heights, np.clip(found.predict(p[:, number]), 1 / 302, 301 / 302), atol=1e-9)


@every_method
@pytest.mark.parametrize("k", [2, 3, 5])
def test_mapped_rows_are_probabilities_and_name_no_class_impossible(method, k):
    y, p = sample(k=k)
    p = np.vstack([p, np.eye(k)])  # a model wholly sure
    found = APPLIES[method](FITS[method](y, p[: len(y)]), p)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found > 0).all()


@every_method
def test_each_map_lowers_the_loss_of_an_overconfident_model(method):
    y, p = sample(n=2000, sharpness=4)
    new_y, new_p = sample(seed=1, n=2000, sharpness=4)
    mapped = APPLIES[method](FITS[method](y, p), new_p)
    assert log_losses(new_y, mapped).mean() < log_losses(new_y, new_p).mean() - 0.1


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_temperature_keeps_the_order_of_the_classes(seed, temperature):
    _, p = sample(seed, n=20)
    found = APPLIES["temperature"]({"temperature": temperature, "never": []}, p)
    np.testing.assert_array_equal(found.argmax(axis=1), p.argmax(axis=1))


@every_method
def test_a_class_without_a_row_is_left_as_it_is_or_never_made_likely(method):
    y, p = sample(k=3)
    kept = y != 2
    found = APPLIES[method](FITS[method](y[kept], p[kept]), p)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found[:, 2].mean() < 0.6


@every_method
def test_a_class_the_model_never_learned_stays_at_zero_where_no_row_is_of_it(method):
    y, p = sample(k=2)
    wide = np.column_stack([p, np.zeros(len(p))])
    found = APPLIES[method](FITS[method](y, wide), wide)
    assert (found[:, 2] == 0).all()


def test_a_model_that_ranks_backwards_is_not_turned_round():
    y, p = sample(k=2)
    found = APPLIES["platt"](fit_platt(y, p[:, ::-1]), p)
    assert np.ptp(found[:, 1]) < 1e-6
    assert found[0, 1] == pytest.approx(y.mean(), abs=0.01)


def test_isotonic_of_few_rows_is_never_sure():
    y = np.array([0, 0, 1, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]])
    found = APPLIES["isotonic"](fit_isotonic(y, p), p)
    assert found.max() == pytest.approx(5 / 6)
