"""Tests of the heads: balance, what a missing library says, weights of linear heads."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

from demur import errors
from demur.errors import MissingDependencyError
from demur.models.classical import ClassicalConfig, balance_weights
from demur.models.classical._config import ADAPTIVE
from demur.models.classical._heads import fit_head, importances, linear_weights, new_head, settle_head

ROWS = np.abs(np.random.default_rng(0).normal(size=(40, 5)))
TARGETS = np.arange(40) % 3
WHOLE = [(np.arange(40), np.arange(40))]
HEADS = ["logreg", "svm", "svc", "nb", "forest", "xgboost", "lightgbm"]


@given(targets=st.lists(st.integers(0, 4), min_size=1, max_size=50).map(np.array))
def test_weights_give_each_class_present_the_same_total_and_sum_to_the_rows(targets):
    weights = balance_weights(targets)
    assert weights.sum() == pytest.approx(len(targets))
    totals = [weights[targets == label].sum() for label in np.unique(targets)]
    np.testing.assert_allclose(totals, totals[0])


@given(targets=st.lists(st.integers(0, 4), min_size=1, max_size=50).map(np.array))
def test_weights_are_those_of_scikit_learn(targets):
    np.testing.assert_allclose(balance_weights(targets), compute_sample_weight("balanced", targets))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("balance", ["balanced", "none"])
def test_every_head_gives_probabilities(head, balance):
    config = ClassicalConfig(head=head, trees=4, threads=1, balance=balance)
    found = fit_head(new_head(config, 0, WHOLE), ROWS, TARGETS).predict_proba(ROWS)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("head", ADAPTIVE)
def test_rows_that_weigh_more_pull_harder(head):
    config = ClassicalConfig(head=head, trees=20, threads=1, balance="none")
    light, heavy = (
        fit_head(new_head(config, 0, WHOLE), ROWS, TARGETS, np.where(TARGETS == 1, weight, 1.0))
        .predict_proba(ROWS)[:, 1]
        .mean()
        for weight in (1.0, 5.0)
    )
    assert heavy > light + 0.05


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_without_a_boosting_library_the_extra_is_named(monkeypatch, library):
    def refuse(name):
        if name == library:
            raise ImportError(f"No module named '{library}'")
        return importlib.import_module(name)

    monkeypatch.setattr(errors, "import_module", refuse)
    with pytest.raises(MissingDependencyError, match=rf"'{library}' is needed .*pip install 'demur\[boost\]'"):
        new_head(ClassicalConfig(head=library), 0, None)
    assert new_head(ClassicalConfig(head="forest"), 0, None) is not None


def test_the_kernel_machine_is_what_its_parts_give_one_after_the_other():
    config = ClassicalConfig(head="svc", components=3, balance="none")
    found = fit_head(new_head(config, 0, WHOLE), ROWS, TARGETS).predict_proba(ROWS)
    reduced = Normalizer().fit_transform(TruncatedSVD(3, n_iter=3, random_state=0).fit_transform(ROWS))
    machine = CalibratedClassifierCV(SVC(C=4.0, gamma=1.0), method="sigmoid", cv=WHOLE, ensemble=False)
    np.testing.assert_allclose(found, machine.fit(reduced, TARGETS).predict_proba(reduced), atol=1e-9)


def test_the_kernel_machine_takes_no_more_dimensions_than_there_are():
    config = ClassicalConfig(head="svc", components=200)
    assert fit_head(new_head(config, 0, WHOLE), ROWS, TARGETS)["svd"].n_components == 5
    few = [(np.arange(4), np.arange(4))]
    assert fit_head(new_head(config, 0, few), ROWS[:4], TARGETS[:4] % 2)["svd"].n_components == 3


def test_a_settled_head_holds_no_folds_and_no_threads():
    heads = {
        name: fit_head(new_head(ClassicalConfig(head=name, trees=3), 0, WHOLE), ROWS, TARGETS) for name in HEADS
    }
    for head in heads.values():
        settle_head(head)
    assert (heads["svm"].cv, heads["svc"]["svc"].cv, heads["forest"].n_jobs) == (None, None, 1)


@pytest.mark.parametrize("head", ["forest", "xgboost", "lightgbm"])
def test_importances_of_trees_are_shares(head):
    fitted = fit_head(new_head(ClassicalConfig(head=head, trees=5, threads=1), 0, None), ROWS, TARGETS)
    found = importances(fitted)
    assert found.shape == (5,)
    assert found.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("head", ["logreg", "svm", "svc", "nb"])
def test_other_heads_have_no_importances(head):
    assert importances(fit_head(new_head(ClassicalConfig(head=head), 0, WHOLE), ROWS, TARGETS)) is None


@pytest.mark.parametrize("head", ["logreg", "svm", "nb"])
def test_a_larger_linear_weight_is_more_of_the_class(head):
    rows = np.vstack([np.eye(3)] * 10)
    targets = np.arange(30) % 3
    fitted = new_head(ClassicalConfig(head=head), 0, [(np.arange(30), np.arange(30))]).fit(rows, targets)
    assert linear_weights(fitted).argmax(axis=1).tolist() == [0, 1, 2]


def test_trees_have_no_linear_weights():
    assert linear_weights(new_head(ClassicalConfig(head="forest", trees=2), 0, None).fit(ROWS, TARGETS)) is None


def test_the_threads_are_those_asked_for():
    assert new_head(ClassicalConfig(head="forest", threads=3), 0, None).n_jobs == 3
    assert new_head(ClassicalConfig(head="forest"), 0, None).n_jobs == -1
