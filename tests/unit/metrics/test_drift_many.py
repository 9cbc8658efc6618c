import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from demur.metrics import adjust_fdr, combine_simes

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(P_VALUES)
def test_adjusted_values_are_those_of_scipy(values):
    assert adjust_fdr(values) == pytest.approx(stats.false_discovery_control(values).tolist())


@given(P_VALUES)
def test_adjusted_values_are_never_smaller_and_keep_the_order(values):
    adjusted = np.array(adjust_fdr(values), dtype=float)
    assert (adjusted >= np.array(values) - 1e-15).all()
    assert (np.diff(adjusted[np.argsort(values)]) >= -1e-15).all()


def test_a_test_that_could_not_be_made_does_not_count():
    assert adjust_fdr([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]


def test_no_tests_give_nothing():
    assert adjust_fdr([]) == []
    assert combine_simes([None]) is None


def test_the_joint_p_value_is_the_smallest_adjusted_one():
    assert combine_simes([0.2, 0.01, None, 0.03]) == pytest.approx(0.03)


def test_any_find_among_true_nulls_is_as_rare_as_alpha_under_positive_dependence():
    generator = np.random.default_rng(1)
    shared = generator.normal(size=(4000, 1))
    values = stats.norm.sf(0.7 * shared + np.sqrt(1 - 0.49) * generator.normal(size=(4000, 8)))
    found = np.mean([combine_simes(row) <= 0.05 for row in values.tolist()])
    assert 0.02 < found <= 0.055
