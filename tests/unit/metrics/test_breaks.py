import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import DataError
from demur.metrics import Bootstrap, first_breaks
from demur.metrics._breaks import count_breaks
from demur.metrics._two_level import TwoLevels

BUDGETS = [0, 10, 20, 40, 80]
nan = np.nan


def one(*responses):
    """The interval of one prompt with these responses along the steps."""
    found = first_breaks(np.array(responses, dtype=float)[None, :, None], BUDGETS)
    return float(found.low[0, 0]), float(found.high[0, 0])


@pytest.mark.parametrize(
    ("responses", "interval"),
    [
        ((0, 0, 1, 1, 1), (10, 20)),
        ((0, 0, 0, 0, 0), (80, np.inf)),
        ((0, 1, 0, 0, 0), (0, 10)),
        ((1, 0, 0, 0, 0), (0, 0)),
        ((0, nan, nan, 1, 1), (0, 40)),
        ((0, 0, nan, nan, nan), (10, np.inf)),
        ((nan, nan, 1, 1, 1), (0, 20)),
        ((nan, 0, nan, nan, 1), (10, 80)),
    ],
)
def test_a_break_lies_between_the_last_refusal_seen_and_the_first_compliance(responses, interval):
    assert one(*responses) == interval


def test_a_prompt_that_was_never_judged_has_no_interval():
    assert np.isnan(one(nan, nan, nan, nan, nan)).all()


@given(st.lists(st.sampled_from([0.0, 1.0, nan]), min_size=5, max_size=5))
def test_the_interval_is_that_of_a_plain_loop(responses):
    low, high, seen = 0.0, np.inf, False
    for budget, response in zip(BUDGETS, responses, strict=True):
        seen |= not np.isnan(response)
        if response == 1:
            high = budget
            break
        if response == 0:
            low = budget
    if seen:
        assert one(*responses) == (low, high)
    else:
        assert np.isnan(one(*responses)).all()


def test_counts_tell_breaks_and_those_that_complied_untampered():
    cells = np.array([[[1, 0, 0, nan], [1, 1, 0, nan]]], dtype=float)
    found = first_breaks(cells, [0, 5])
    assert (found.n, found.n_broken, found.n_at_start, found.shape) == (3, 2, 1, (1, 4))
    assert (found.smallest, found.largest) == (5, 5)


def test_each_seed_may_have_spent_its_own_budgets():
    cells = np.array([[[0.0], [1.0]], [[0.0], [1.0]]])
    found = first_breaks(cells, [[0, 10], [0, 12]])
    assert found.high.ravel().tolist() == [10, 12]


def test_the_largest_budget_is_the_largest_that_was_judged():
    cells = np.zeros((1, 5, 3))
    cells[:, 3:] = nan
    assert first_breaks(cells, BUDGETS).largest == 20


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ([0, 1], r"budgets have shape \(2,\)"),
        ([0, 10, 10, 20, 30], "rise from step to step"),
        ([-1, 10, 20, 30, 40], "0 or more"),
        ([0, 10, 20, 30, np.inf], "must be finite"),
    ],
)
def test_budgets_that_do_not_fit_are_refused(budgets, words):
    with pytest.raises(DataError, match=words):
        first_breaks(np.zeros((1, 5, 3)), budgets)


def test_at_least_one_checkpoint_lies_after_tampering_began():
    with pytest.raises(DataError, match="no budget is above 0"):
        first_breaks(np.zeros((1, 1, 3)), [0])


def test_counts_of_equal_intervals_add_up_under_any_weights():
    generator = np.random.default_rng(0)
    cells = (generator.random((3, 5, 40)) < 0.3).astype(float)
    cells[0, :, :4] = nan
    breaks = first_breaks(cells, BUDGETS)
    levels = TwoLevels((3, 40), np.arange(40) % 6, Bootstrap())
    counted = count_breaks(breaks, levels)
    seeds, clusters = generator.integers(0, 3, (2, 3)), generator.integers(0, 3, (2, 6))
    found = counted.weigh(seeds.astype(float), clusters.astype(float))
    weights = seeds[:, :, None] * clusters[:, None, levels.clusters]
    for place, pair in enumerate(zip(counted.low, counted.high, strict=True)):
        same = (breaks.low == pair[0]) & (breaks.high == pair[1])
        np.testing.assert_allclose(found[:, place], (weights * same).sum(axis=(1, 2)))
    assert counted.counts.sum() == breaks.n == 116
