import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.metrics._sequential_capital import FRACTIONS, capital_bounds, combine_sides, log_capital

OUTCOMES = np.asarray([0.0, 1.0])
PAIRS = np.asarray([0.0, 0.5, 1.0])
"""Differences of -1, 0 and 1 on the unit scale, where no difference is one half."""
counts_of = st.lists(st.integers(0, 60), min_size=3, max_size=3)


def slow_capital(values, mean):
    """One bettor a fraction, one observation at a time."""
    purses = [1 / len(FRACTIONS)] * len(FRACTIONS)
    for value in values:
        purses = [
            purse * (1 - share + share * value / mean) for purse, share in zip(purses, FRACTIONS, strict=True)
        ]
    return sum(purses)


@given(counts_of, st.floats(0.05, 0.95))
def test_it_is_what_a_bettor_has_who_bets_one_by_one(counts, mean):
    values = [value for value, count in zip(PAIRS, counts, strict=True) for _ in range(count)]
    found = log_capital(PAIRS, np.asarray(counts, dtype=float), mean, "greater")
    assert math.exp(float(found)) == pytest.approx(slow_capital(values, mean), rel=1e-9)
    less = log_capital(PAIRS, np.asarray(counts, dtype=float), mean, "less")
    assert math.exp(float(less)) == pytest.approx(slow_capital([1 - one for one in values], 1 - mean), rel=1e-9)


@given(counts_of, st.floats(0.05, 0.95))
def test_of_two_sides_it_is_half_the_larger(counts, mean):
    given_counts = np.asarray(counts, dtype=float)
    sides = [float(log_capital(PAIRS, given_counts, mean, side)) for side in ("greater", "less")]
    assert float(log_capital(PAIRS, given_counts, mean)) == pytest.approx(max(sides) - math.log(2))


@given(st.floats(0.02, 0.98), st.sampled_from(["greater", "less"]))
def test_a_fair_game_gives_nobody_a_profit_on_average(mean, side):
    """The one step that Ville's inequality needs: its mean under the hypothesis is what was there before."""
    ends = [math.exp(float(log_capital(OUTCOMES, np.asarray(counts), mean, side))) for counts in ([1, 0], [0, 1])]
    assert (1 - mean) * ends[0] + mean * ends[1] == pytest.approx(1)


def test_a_mean_on_the_far_side_of_the_null_loses_money_on_average():
    ends = [
        math.exp(float(log_capital(OUTCOMES, np.asarray(counts), 0.3, "greater"))) for counts in ([1, 0], [0, 1])
    ]
    assert 0.8 * ends[0] + 0.2 * ends[1] < 1


def test_many_counts_are_judged_at_once():
    counts = np.asarray([[3.0, 1.0], [0.0, 9.0], [40.0, 2.0]])
    wanted = [float(log_capital(OUTCOMES, row, 0.4)) for row in counts]
    assert log_capital(OUTCOMES, counts, 0.4).tolist() == pytest.approx(wanted)


def test_one_side_alone_keeps_its_whole_capital():
    one = np.asarray([1.5])
    assert combine_sides(one, None) is one
    assert combine_sides(None, one) is one


@given(counts_of, st.sampled_from([0.8, 0.95, 0.999]))
def test_bounds_are_where_a_bettor_reaches_the_level(counts, level):
    """Against a fine grid of means, each with its own bettor."""
    given_counts = np.asarray(counts, dtype=float)
    low, high = capital_bounds(PAIRS, given_counts, level)
    grid = np.linspace(0.005, 0.995, 199)
    kept = [mean for mean in grid if float(log_capital(PAIRS, given_counts, float(mean))) < -math.log(1 - level)]
    assert low <= min(kept) <= low + 0.0051
    assert high - 0.0051 <= max(kept) <= high


@given(counts_of)
def test_bounds_hold_the_sample_mean_and_mirror_each_other(counts):
    given_counts = np.asarray(counts, dtype=float)
    low, high = capital_bounds(PAIRS, given_counts, 0.95)
    assert 0 <= low <= high <= 1
    if given_counts.sum():
        assert low <= given_counts @ PAIRS / given_counts.sum() <= high
    mirrored = capital_bounds(PAIRS, given_counts[::-1], 0.95)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)


@given(counts_of, st.floats(0, 0.4), st.floats(0.6, 1))
def test_bounds_known_before_are_never_left(counts, low, high):
    found = capital_bounds(PAIRS, np.asarray(counts, dtype=float), 0.95, within=(low, high))
    assert found[0] >= low
    assert found[1] <= high


def test_without_observations_nothing_is_ruled_out():
    assert capital_bounds(OUTCOMES, np.zeros(2), 0.95) == (0.0, 1.0)


def test_a_bound_on_one_side_is_closer_than_one_of_two():
    counts = np.asarray([700.0, 300.0])
    low, high = capital_bounds(OUTCOMES, counts, 0.95)
    assert capital_bounds(OUTCOMES, counts, 0.95, "greater")[0] > low
    assert capital_bounds(OUTCOMES, counts, 0.95, "greater")[1] == 1
    assert capital_bounds(OUTCOMES, counts, 0.95, "less")[1] < high


def test_only_the_largest_mean_is_left_when_every_value_is_largest():
    low, high = capital_bounds(OUTCOMES, np.asarray([0.0, 1000.0]), 0.95)
    assert low > 0.99
    assert high == 1
