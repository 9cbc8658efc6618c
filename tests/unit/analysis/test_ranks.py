from itertools import pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from demur.analysis import critical_difference, rank_models
from demur.analysis._ranks import find_cliques


@given(st.integers(0, 10_000), st.integers(3, 7), st.integers(3, 12), st.booleans())
def test_friedman_is_that_of_scipy(seed, k, blocks, has_ties):
    scores = np.random.default_rng(seed).random((blocks, k))
    scores = np.round(scores, 1) if has_ties else scores
    if (np.ptp(scores, axis=1) == 0).all():
        return
    found = rank_models([str(number) for number in range(k)], scores)
    reference = stats.friedmanchisquare(*scores.T)
    assert found.statistic == pytest.approx(reference.statistic, abs=1e-9)
    assert found.p == pytest.approx(reference.pvalue, abs=1e-9)


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_differences_follow_the_table_of_demsar(k, q):
    assert critical_difference(k, 14) == pytest.approx(q * np.sqrt(k * (k + 1) / 84), abs=2e-3)


def test_the_f_statistic_is_that_of_demsars_example():
    """Four models on 14 sets with mean ranks 3.143, 2.000, 2.893, 1.964: chi-square 9.28, F 3.69."""
    f = 13 * 9.28 / (14 * 3 - 9.28)
    assert f == pytest.approx(3.69, abs=0.01)
    scores = np.random.default_rng(1).random((14, 4))
    found = rank_models(list("abcd"), scores)
    assert found.f_statistic == pytest.approx(13 * found.statistic / (42 - found.statistic))
    assert found.f_p == pytest.approx(stats.f.sf(found.f_statistic, 3, 39))


def test_the_best_model_has_the_lowest_rank():
    found = rank_models(["low", "high"], [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    assert found.models == ("high", "low")
    assert found.mean_ranks == (1.0, 2.0)
    assert (found.f_statistic, found.f_p) == (None, 0.25)


@pytest.mark.parametrize("block", [[0.1, 0.9], [0.1, 0.5, 0.9], [0.1, 0.9, 0.9], [0.1, 0.2, 0.9, 0.9]])
@pytest.mark.parametrize("blocks", [2, 3])
def test_where_all_blocks_rank_alike_p_is_the_share_of_orders_that_would(block, blocks):
    scores = np.array([block] * blocks)
    drawn = product(*(list(permutations(block)) for _ in range(blocks)))
    alike = [len(set(orders)) == 1 for orders in drawn]
    found = rank_models([str(number) for number in range(len(block))], scores)
    assert found.f_statistic is None
    assert found.f_p == pytest.approx(np.mean(alike))


def test_equal_scores_share_a_rank_and_show_nothing():
    found = rank_models(["a", "b", "c"], np.ones((4, 3)))
    assert found.mean_ranks == (2.0, 2.0, 2.0)
    assert (found.statistic, found.p) == (0.0, 1.0)
    assert found.cliques == (("a", "b", "c"),)


def test_cliques_are_the_longest_runs_within_the_difference():
    assert find_cliques([1.0, 1.8, 2.5, 4.0, 4.2], 1.6) == [(0, 2), (2, 3), (3, 4)]
    assert find_cliques([1.0, 3.0], 1.0) == []
    assert find_cliques([1.0, 1.5, 2.0], 5.0) == [(0, 2)]


@given(st.lists(st.floats(1, 9), min_size=2, max_size=9), st.floats(0.1, 4))
def test_no_clique_lies_within_another_and_none_spans_too_much(ranks, difference):
    ranks = sorted(ranks)
    found = find_cliques(ranks, difference)
    for first, last in found:
        assert ranks[last] - ranks[first] < difference
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(found))
