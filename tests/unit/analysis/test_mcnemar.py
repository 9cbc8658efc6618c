import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from demur.analysis import mcnemar, obuchowski_statistic, sign_flip_p


def rows(both, only_a, only_b, neither):
    right_a = [True] * (both + only_a) + [False] * (only_b + neither)
    right_b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return right_a, right_b


counts = st.tuples(st.integers(0, 20), st.integers(0, 30), st.integers(0, 30), st.integers(1, 20))


@given(counts)
def test_exact_and_corrected_values_are_those_of_statsmodels(table):
    from statsmodels.stats.contingency_tables import mcnemar as reference

    both, only_a, only_b, neither = table
    found = mcnemar(*rows(*table))
    cells = [[both, only_a], [only_b, neither]]
    if only_a + only_b:
        assert found.exact_p == pytest.approx(reference(cells, exact=True).pvalue)
    if only_a != only_b:
        corrected = reference(cells, exact=False, correction=True)
        assert found.statistic == pytest.approx(corrected.statistic)
        assert found.chi2_p == pytest.approx(corrected.pvalue)


def test_mid_p_is_the_exact_value_less_the_chance_of_the_split_itself():
    found = mcnemar(*rows(5, 1, 8, 2))
    assert found.exact_p == pytest.approx(stats.binomtest(1, 9).pvalue)
    assert found.mid_p == pytest.approx(found.exact_p - stats.binom.pmf(1, 9, 0.5))
    assert (found.p, found.method) == (found.mid_p, "mid-p")


def test_an_even_split_is_no_evidence():
    found = mcnemar(*rows(1, 4, 4, 1))
    assert (found.exact_p, found.mid_p, found.clustered_p) == (1.0, 1.0, 1.0)


def test_models_that_never_differ_have_p_of_one():
    found = mcnemar([True, False], [True, False])
    assert (found.p, found.clustered_p, found.statistic, found.groups) == (1.0, 1.0, 0.0, 0)


@pytest.mark.parametrize(("only_a", "method"), [(14, "mid-p"), (15, "chi-square")])
def test_the_approximation_is_used_from_25_discordant_rows(only_a, method):
    assert mcnemar(*rows(3, only_a, 10, 3)).method == method


def test_without_groups_the_clustered_test_is_the_exact_one():
    found = mcnemar(*rows(5, 2, 9, 4))
    assert found.clustered_method == "sign-flip"
    assert found.clustered_p == pytest.approx(found.exact_p)


def test_without_groups_obuchowski_is_mcnemar_but_for_the_small_sample_factor():
    right_a, right_b = (np.array(side, dtype=int) for side in rows(20, 30, 12, 8))
    n = len(right_a)
    assert obuchowski_statistic(right_a - right_b) == pytest.approx((30 - 12) ** 2 / 42 * (n - 1) / n)


def obuchowski_long_hand(right_a, right_b, groups):
    """The statistic as the paper writes it: variances and covariance of the two proportions by cluster."""
    k, n = len(set(groups)), len(groups)
    sums = np.array([[(side[groups == g]).sum() for side in (right_a, right_b)] for g in range(k)])
    sizes = np.bincount(groups)
    pooled = (right_a.mean() + right_b.mean()) / 2
    rest = sums - sizes[:, None] * pooled
    covariance = k / (k - 1) * rest.T @ rest / n**2
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return (right_a.mean() - right_b.mean()) ** 2 / variance


@given(st.integers(0, 10_000))
def test_obuchowski_is_the_formula_of_the_paper(seed):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(30), 3)
    right_a, right_b = generator.random((2, 90)) < 0.6
    excess = np.bincount(groups, right_a.astype(int) - right_b)
    expected = obuchowski_long_hand(right_a.astype(float), right_b.astype(float), groups)
    assert obuchowski_statistic(excess) == pytest.approx(expected)


def test_sign_flips_are_counted_exactly():
    excess = [3, -1, 2]
    sums = [abs(a * 3 + b + c * 2) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    assert sign_flip_p(excess) == pytest.approx(np.mean([total >= 4 for total in sums]))


def test_rows_that_repeat_do_not_add_evidence():
    """Each row copied four times: the plain test takes the copies for evidence, the clustered one does not."""
    right_a, right_b = rows(5, 9, 3, 5)
    once = mcnemar(right_a, right_b)
    copied = mcnemar(np.repeat(right_a, 4), np.repeat(right_b, 4), np.repeat(np.arange(22), 4))
    assert copied.p < once.p / 2
    assert copied.clustered_p == pytest.approx(once.clustered_p)


def test_many_discordant_groups_use_obuchowski():
    right_a, right_b = rows(5, 30, 10, 5)
    found = mcnemar(right_a, right_b, np.arange(50))
    assert found.clustered_method == "obuchowski"
    assert found.clustered_p == pytest.approx(stats.chi2.sf(400 / 40 * 49 / 50, 1))
