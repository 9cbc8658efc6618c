import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from demur.analysis import independence_test
from demur.analysis._balance import corrected_v, count_labels, table_balance

tables = st.lists(st.lists(st.integers(20, 90), min_size=3, max_size=3), min_size=2, max_size=5)


@given(tables)
def test_chi_square_is_that_of_scipy(table):
    found = independence_test(table)
    reference = stats.chi2_contingency(table, correction=False)
    assert found.method == "chi-square"
    assert found.statistic == pytest.approx(reference.statistic)
    assert (found.p, found.df) == (pytest.approx(reference.pvalue), reference.dof)
    assert found.least_expected == pytest.approx(reference.expected_freq.min())


@given(tables)
def test_without_its_correction_v_is_that_of_scipy(table):
    counts = np.array(table)
    n, (r, c) = counts.sum(), counts.shape
    statistic = stats.chi2_contingency(table, correction=False).statistic
    plain = np.sqrt(statistic / n / (min(r, c) - 1))
    assert plain == pytest.approx(stats.contingency.association(counts, method="cramer"))
    assert corrected_v(statistic, counts.shape, int(n)) <= plain + 1e-12


def test_corrected_v_is_bergsmas_by_hand():
    n, r, c, statistic = 100, 2, 3, 20.0
    phi = 20 / 100 - (r - 1) * (c - 1) / (n - 1)
    least = min(r - (r - 1) ** 2 / 99, c - (c - 1) ** 2 / 99)
    assert corrected_v(statistic, (r, c), n) == pytest.approx(np.sqrt(phi / (least - 1)))


def test_a_small_square_is_tested_exactly():
    found = independence_test([[8, 2], [1, 5]])
    assert found.method == "fisher"
    assert found.p == pytest.approx(stats.fisher_exact([[8, 2], [1, 5]]).pvalue)


def test_small_counts_are_tested_by_random_tables():
    table = np.array([[6, 1, 0], [1, 5, 2], [0, 2, 4]])
    found = independence_test(table, seed=1)
    method = stats.PermutationMethod(n_resamples=9999, rng=np.random.default_rng(2))
    reference = stats.chi2_contingency(table, correction=False, method=method)
    assert found.method == "permutation"
    assert found.p == pytest.approx(reference.pvalue, abs=0.01)
    assert independence_test(table, seed=1) == found


def test_a_source_with_one_label_each_is_a_strong_association():
    found = independence_test([[50, 0], [0, 50]])
    assert found.cramers_v == pytest.approx(1.0, abs=0.01)
    assert found.is_strong
    assert not independence_test([[25, 25], [26, 24]]).is_strong


@pytest.mark.parametrize("table", [[[5, 5]], [[5, 0], [7, 0]], [[0, 0], [0, 0]], np.zeros((0, 3))])
def test_one_label_or_one_value_leaves_nothing_to_test(table):
    found = independence_test(table)
    assert (found.p, found.cramers_v) == (None, None)
    assert found.reason == "fewer than two labels, or two values"


def test_rows_are_counted_by_value_and_label():
    found = count_labels("source", ("a", "b"), np.array([0, 1, 1, 0]), ["x", "x", "y", None])
    assert (found.values, found.counts, found.missing) == (("x", "y"), ((1, 1), (0, 1)), 1)


def test_a_table_keeps_its_names():
    found = table_balance("split", ("a", "b"), ["train", "test"], [[30, 20], [12, 8]])
    assert (found.labels, found.values) == (("a", "b"), ("train", "test"))
    assert found.test.statistic == pytest.approx(0.0)
