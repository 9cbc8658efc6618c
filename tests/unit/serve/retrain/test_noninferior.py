import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from demur.analysis import obuchowski_statistic
from demur.serve.retrain import noninferiority
from demur.serve.retrain._noninferior import FEW_GROUPS, design_effect, score_z, worst_design_effect


def most_likely_variance(only_new, only_old, n, difference):
    """Variance of the difference of counts at the most likely proportions with that difference, by search."""
    both = n - only_new - only_old

    def loss(old):
        new = old + difference
        rest = 1 - old - new
        terms = [(only_new, new), (only_old, old), (both, rest)]
        if any(share < 0 for _, share in terms):
            return 1e12
        return -sum(count * math.log(max(share, 1e-300)) for count, share in terms if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    old = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return n * (2 * old + difference - difference**2)


@pytest.mark.parametrize(
    ("counts", "difference"),
    [((3, 8, 100), -0.1), ((0, 0, 60), -0.05), ((12, 5, 44), 0.0), ((1, 9, 50), -0.2), ((7, 7, 300), 0.08)],
)
def test_the_variance_is_that_of_the_most_likely_proportions(counts, difference):
    new, old, n = counts
    wanted = (new - old - n * difference) / math.sqrt(most_likely_variance(new, old, n, difference))
    assert score_z(new, old, n, difference) == pytest.approx(wanted, rel=1e-4)


def test_at_no_difference_it_is_mcnemars_statistic():
    assert score_z(12, 5, 80, 0.0) == pytest.approx((12 - 5) / math.sqrt(12 + 5))


def test_two_models_that_never_differ_show_no_more_than_their_rows_allow():
    """Were one worse by 5 points, 60 equal answers had a chance of 0.95^60: the statistic must not be infinite."""
    z = score_z(0, 0, 60, -0.05)
    assert z == pytest.approx(math.sqrt(60 * 0.05 / 0.95))
    assert stats.norm.sf(z) == pytest.approx(0.95**60, abs=0.02)


def test_the_statistic_falls_as_the_difference_rises():
    values = [score_z(8, 5, 100, one) for one in np.linspace(-0.9, 0.9, 61)]
    assert values == sorted(values, reverse=True)


def test_nothing_differs_and_nothing_is_assumed():
    assert score_z(0, 0, 10, 0.0) == 0.0
    assert score_z(3, 0, 10, 0.3) == pytest.approx(0.0, abs=1e-9)


# Groups


def test_rows_that_are_groups_of_their_own_have_no_design_effect():
    excess = np.array([1] * 20 + [-1] * 25 + [0] * 155)
    assert design_effect(excess, np.ones(200), 45) == pytest.approx(1.0, abs=0.05)


def test_groups_that_are_wholly_alike_count_once():
    excess = np.array([3] * 20 + [-3] * 25 + [0] * 155)
    assert design_effect(excess, np.full(200, 3), 135) == pytest.approx(3.0, rel=0.05)


def test_where_nothing_tells_it_the_worst_is_assumed():
    assert design_effect(np.zeros(10), np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 11]), 0) == pytest.approx(130 / 20)


def test_the_worst_effect_goes_by_sizes_alone():
    assert worst_design_effect([1] * 50) == 1
    assert worst_design_effect([20] * 3 + [1] * 240) == pytest.approx((3 * 400 + 240) / 300)
    groups = np.repeat(np.arange(12), [9] + [1] * 11)
    found = [noninferiority(right, np.ones(20), groups, 0.05) for right in (np.ones(20), np.arange(20) >= 9)]
    assert found[0].worst_effect == found[1].worst_effect == pytest.approx(92 / 20)


def test_with_many_groups_the_variance_is_obuchowskis():
    generator = np.random.default_rng(1)
    sizes = generator.integers(1, 5, 4000)
    excess = generator.binomial(sizes, 0.1) - generator.binomial(sizes, 0.1)
    discordant = int(np.abs(excess).sum())
    effect = design_effect(excess, sizes, discordant)
    z = score_z(0 + (excess > 0).sum() / effect, (excess < 0).sum() / effect, 1e9, 0.0)
    assert math.isfinite(z)
    # At no difference: z² by the design effect against the chi-square over groups.
    plain = excess.sum() ** 2 / discordant
    assert plain / effect == pytest.approx(obuchowski_statistic(excess), rel=0.02)


def test_few_groups_show_nothing_however_many_rows_they_have():
    right = np.ones(900)
    groups = np.arange(900) % (FEW_GROUPS - 1)
    found = noninferiority(right, right, groups, 0.05)
    assert (found.p, found.p_worse) == (1.0, 1.0)


# The whole


def test_a_model_that_is_as_good_is_shown_to_be_no_worse():
    right = np.arange(400) % 10 > 0
    found = noninferiority(right, right, np.arange(400), 0.05)
    assert found.p < 0.001
    assert found.difference == 0
    assert -0.05 < found.low < 0


def test_a_model_that_is_worse_is_not_and_is_shown_to_be():
    old = np.arange(400) % 10 > 0
    new = np.arange(400) % 5 > 0
    found = noninferiority(new, old, np.arange(400), 0.05)
    assert found.p > 0.99
    assert found.p_worse < 0.001
    assert found.difference == pytest.approx(-0.1)


def test_few_rows_show_neither():
    right = np.ones(20)
    found = noninferiority(right, right, np.arange(20), 0.05)
    assert found.p > 0.05
    assert found.p_worse == 1.0


def test_the_interval_and_the_test_say_the_same():
    generator = np.random.default_rng(2)
    for _ in range(40):
        new, old = generator.random(150) < 0.85, generator.random(150) < 0.88
        found = noninferiority(new, old, np.arange(150), 0.06)
        assert (found.low > -0.06) == (found.p < 0.05)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 30)), min_size=1, max_size=80))
def test_p_values_are_shares_and_copies_of_rows_show_no_more(rows):
    new, old, groups = (np.array(column) for column in zip(*rows, strict=True))
    one = noninferiority(new, old, groups, 0.05)
    three = noninferiority(*(np.tile(part, 3) for part in (new, old, groups)), 0.05)
    assert 0 <= one.p <= 1
    assert 0 <= one.p_worse <= 1
    assert three.difference == pytest.approx(one.difference)
    assert three.p >= one.p - 1e-9


def share_accepted(groups, size, alike, only_new, margin, runs):
    """How often a model that is worse by just the margin passes at 5 %."""
    generator, passed = np.random.default_rng(0), 0
    for _ in range(runs):
        sizes = generator.integers(1, size + 1, groups)
        numbers = np.repeat(np.arange(groups), sizes)
        shared = (generator.random(groups) < alike)[numbers]
        draw = np.where(shared, generator.random(groups)[numbers], generator.random(len(numbers)))
        better, worse = draw < only_new, (draw >= only_new) & (draw < 2 * only_new + margin)
        passed += noninferiority(~worse, ~better, numbers, margin).p <= 0.05
    return passed / runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "size", "alike"), [(60, 1, 0.0), (200, 1, 0.0), (60, 3, 0.5), (200, 3, 1.0), (30, 4, 0.7)]
)
@pytest.mark.parametrize(("only_new", "margin"), [(0.0, 0.05), (0.1, 0.05), (0.05, 0.1)])
def test_a_model_that_is_worse_by_the_margin_passes_in_at_most_a_twentieth(groups, size, alike, only_new, margin):
    # 1,000 runs at a true 5 % give more than 7 % once in a thousand.
    assert share_accepted(groups, size, alike, only_new, margin, 1000) <= 0.07
