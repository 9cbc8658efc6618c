import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from demur.errors import DataError
from demur.metrics import (
    Permutations,
    chi_square_test,
    jensen_shannon_distance,
    jensen_shannon_test,
    population_stability_index,
    stability_test,
)
from demur.metrics._drift_shares import chi_square

COUNTS = st.lists(st.integers(1, 500), min_size=3, max_size=3)


@given(COUNTS, COUNTS)
def test_chi_square_is_that_of_scipy(first, second):
    wanted = stats.chi2_contingency([first, second], correction=False)
    assert float(chi_square(first, second)) == pytest.approx(wanted.statistic, abs=1e-9)


@given(COUNTS, COUNTS)
def test_jensen_shannon_distance_is_that_of_scipy(first, second):
    wanted = float(jensenshannon(first, second, base=2))
    assert float(jensen_shannon_distance(first, second)) == pytest.approx(
        0 if np.isnan(wanted) else wanted, abs=1e-7
    )


def test_jensen_shannon_distance_goes_from_nothing_to_one():
    assert jensen_shannon_distance([5, 0], [0, 9]) == pytest.approx(1)
    assert jensen_shannon_distance([5, 5], [9, 9]) == pytest.approx(0, abs=1e-9)


def test_stability_index_is_the_formula_and_finite_for_an_empty_bin():
    p, q = np.array([100.5, 50.5]) / 151, np.array([60.5, 90.5]) / 151
    assert float(population_stability_index([100, 50], [60, 90])) == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert np.isfinite(population_stability_index([10, 0], [0, 10]))


def test_the_p_value_of_large_counts_is_that_of_the_chi_square_distribution():
    found = chi_square_test("labels", [400, 300, 300], [100, 50, 100])
    assert found.p_value == pytest.approx(stats.chi2_contingency([[400, 300, 300], [100, 50, 100]]).pvalue)
    assert found.method == "chi-square"
    assert (found.n_reference, found.n_current) == (1000, 250)


def test_the_p_value_of_small_counts_is_near_the_exact_one():
    found = chi_square_test("labels", [30, 1], [20, 6], Permutations(most=50_000))
    exact = stats.fisher_exact([[30, 1], [20, 6]]).pvalue
    assert "permutations" in found.method
    assert found.p_value == pytest.approx(exact, rel=0.25)


@pytest.mark.parametrize("test", [chi_square_test, jensen_shannon_test, stability_test])
def test_false_signals_are_as_rare_as_alpha(test):
    generator = np.random.default_rng(2)
    shares = [0.5, 0.3, 0.15, 0.05]
    first, second = generator.multinomial(600, shares, 600), generator.multinomial(120, shares, 600)
    found = [
        test("x", one, two, Permutations(most=499, seed=n)).p_value
        for n, (one, two) in enumerate(zip(first, second, strict=True))
    ]
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.08


@pytest.mark.parametrize("test", [chi_square_test, jensen_shannon_test, stability_test])
def test_a_large_change_is_found(test):
    assert test("x", [500, 300, 200], [50, 100, 100]).p_value <= 1e-3


@pytest.mark.parametrize("test", [chi_square_test, jensen_shannon_test, stability_test])
@pytest.mark.parametrize(
    ("reference", "current", "reason"),
    [
        ([3, 4], [0, 0], "one side has no rows"),
        ([3, 0], [7, 0], "all rows are of one kind"),
    ],
)
def test_what_cannot_be_tested_says_why(test, reference, current, reason):
    found = test("x", reference, current)
    assert found.p_value is None
    assert found.reason == reason


def test_a_kind_that_only_the_window_has_counts():
    assert chi_square_test("languages", [300, 0], [200, 60]).p_value < 1e-6


def test_the_index_without_drift_is_about_what_the_facts_expect():
    generator = np.random.default_rng(3)
    shares = np.full(10, 0.1)
    pairs = [(generator.multinomial(1000, shares), generator.multinomial(250, shares)) for _ in range(300)]
    found = stability_test("psi", *pairs[0])
    mean = np.mean([population_stability_index(one, two) for one, two in pairs])
    assert found.facts["expected"] == pytest.approx(9 * (1 / 1000 + 1 / 250))
    assert mean == pytest.approx(found.facts["expected"], rel=0.1)


def test_the_threshold_is_what_one_window_in_twenty_reaches():
    generator = np.random.default_rng(4)
    shares = np.full(10, 0.1)
    threshold = stability_test("psi", *generator.multinomial([1000, 250], shares)).facts["threshold"]
    values = [population_stability_index(*generator.multinomial([1000, 250], shares)) for _ in range(2000)]
    assert np.mean(np.array(values) >= threshold) == pytest.approx(0.05, abs=0.025)


def test_counts_of_other_kinds_are_refused():
    with pytest.raises(DataError, match="count the same kinds"):
        chi_square_test("labels", [1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="negative count"):
        stability_test("labels", [1, -2], [1, 2])
