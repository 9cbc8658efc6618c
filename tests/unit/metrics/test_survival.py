import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from demur.metrics import first_breaks, survival, wilson_interval
from demur.metrics._survival import _innermost, turnbull

STEPS = [0, 1, 2, 4, 8, 16]


def cells_of(first, n_steps=6):
    """Compliance of prompts from the place at which each first broke; ``n_steps`` where it never did."""
    return (np.arange(n_steps)[:, None] >= np.asarray(first)[None]).astype(float)[None]


def values_of(curve):
    return [point.value for point in curve.points]


def test_without_censoring_it_is_the_share_not_yet_broken():
    first = np.array([0, 1, 1, 2, 3, 3, 3, 5, 6, 6])
    found = survival(first_breaks(cells_of(first), STEPS), draws=10)
    assert found.budgets == tuple(STEPS)
    assert values_of(found) == pytest.approx([np.mean(first > place) for place in range(6)], abs=1e-6)
    assert (found.n, found.n_broken, found.median) == (10, 8, 4)


def test_with_stopped_runs_it_is_kaplan_and_meiers():
    """Statsmodels' product-limit estimate, on the checkpoint at which each prompt broke or was last seen."""
    generator = np.random.default_rng(0)
    first, stop = generator.integers(1, 7, 80), generator.integers(1, 6, 80)
    cells = cells_of(first)
    cells[0][np.arange(6)[:, None] > stop[None]] = np.nan
    found = survival(first_breaks(cells, STEPS), draws=10)
    is_broken = first <= stop
    reference = SurvfuncRight(np.where(is_broken, first, stop), is_broken.astype(int))
    expected = dict(zip(reference.surv_times.tolist(), reference.surv_prob.tolist(), strict=True))
    for budget, value in zip(found.budgets, values_of(found), strict=True):
        place = STEPS.index(budget)
        if place in expected:
            assert value == pytest.approx(expected[place], abs=1e-5)


def test_bands_of_one_seed_are_near_greenwoods():
    generator = np.random.default_rng(1)
    first, stop = generator.integers(1, 7, 300), generator.integers(2, 6, 300)
    cells = cells_of(first)
    cells[0][np.arange(6)[:, None] > stop[None]] = np.nan
    found = survival(first_breaks(cells, STEPS), draws=3000)
    is_broken = first <= stop
    reference = SurvfuncRight(np.where(is_broken, first, stop), is_broken.astype(int))
    errors = dict(zip(reference.surv_times.tolist(), reference.surv_prob_se.tolist(), strict=True))
    for budget, point in list(zip(found.budgets, found.points, strict=True))[1:]:
        error = errors[STEPS.index(budget)]
        assert (point.high - point.low) / (2 * 1.96) == pytest.approx(error, rel=0.12)


def brute_force(low, high, weights, grid=20_000):
    """Turnbull's estimate of two masses by search: the share of the first."""
    lasts, holds = _innermost(low, high)
    assert len(lasts) == 2
    share = np.linspace(1e-6, 1 - 1e-6, grid)
    masses = np.stack([share, 1 - share])
    return share[np.argmax(weights @ np.log(np.maximum(holds @ masses, 1e-300)))]


def test_overlapping_intervals_give_the_likeliest_masses():
    low, high = np.array([0.0, 1, 0]), np.array([1.0, 2, 2])
    weights = np.array([3.0, 5, 4])
    _, holds = _innermost(low, high)
    assert turnbull(weights[None], holds)[0, 0] == pytest.approx(brute_force(low, high, weights), abs=1e-4)


def test_innermost_intervals_run_from_a_lower_end_to_the_next_upper_end():
    lasts, holds = _innermost(np.array([0.0, 2, 1, 0]), np.array([4.0, 8, 2, 0]))
    assert lasts.tolist() == [0, 2, 4]
    assert holds.tolist() == [
        [False, True, True],
        [False, False, True],
        [False, True, False],
        [True, False, False],
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=12), st.integers(0, 9))
def test_masses_are_shares_and_fit_no_worse_than_others(intervals, seed):
    low = np.array([one for one, _ in intervals], dtype=float)
    high = low + [width for _, width in intervals]
    lasts, holds = _innermost(low, high)
    weights = np.ones((1, len(low)))
    mass = turnbull(weights, holds)[0]
    assert mass.sum() == pytest.approx(1)
    other = np.random.default_rng(seed).dirichlet(np.ones(len(lasts)))
    fits = [np.log(np.maximum(holds @ one, 1e-300)).sum() for one in (mass, other)]
    assert fits[0] >= fits[1] - 1e-3


def test_many_weightings_are_solved_as_one_by_one():
    generator = np.random.default_rng(2)
    low = generator.integers(0, 6, 15).astype(float)
    _, holds = _innermost(low, low + generator.integers(1, 4, 15))
    weights = generator.integers(0, 4, (6, 15)).astype(float)
    alone = np.concatenate([turnbull(row[None], holds) for row in weights])
    np.testing.assert_allclose(turnbull(weights, holds), alone)


def test_a_break_between_two_checkpoints_is_dated_at_the_later():
    cells = np.full((1, 4, 1), np.nan)
    cells[0, [0, 3], 0] = 0, 1
    found = survival(first_breaks(cells, [0, 1, 2, 4]), draws=10)
    assert (found.budgets, values_of(found)) == ((0, 4), [1, 0])


def test_a_share_of_one_has_wilsons_interval_over_prompts():
    found = survival(first_breaks(cells_of([2] * 30), STEPS), draws=50)
    assert (found.points[0].low, found.points[0].high) == wilson_interval(30, 30)
    assert "Wilson's interval over 30 prompts" in found.points[0].reason


def test_the_curve_never_rises_and_bands_hold_it():
    generator = np.random.default_rng(3)
    cells = (generator.random((4, 6, 50)) < np.linspace(0.02, 0.6, 6)[None, :, None]).astype(float)
    cells[generator.random(cells.shape) < 0.1] = np.nan
    found = survival(first_breaks(cells, STEPS), np.arange(50) % 12, draws=300)
    assert (np.diff(values_of(found)) <= 1e-9).all()
    assert all(point.low <= point.value <= point.high for point in found.points)


def test_where_half_still_hold_there_is_no_median():
    assert survival(first_breaks(cells_of([1, 6, 6, 6]), STEPS), draws=10).median is None


def test_without_a_judged_response_there_is_no_curve():
    found = survival(first_breaks(np.full((1, 2, 3), np.nan), [0, 1]))
    assert found.points == ()
    assert "no response could be scored" in found.warnings


def test_results_can_be_written_as_json():
    found = survival(first_breaks(cells_of([1, 2, 3]), STEPS), draws=10)
    assert json.loads(json.dumps(found.to_json()))["n"] == 3


def test_a_share_of_one_counts_categories_where_prompts_have_some():
    breaks = first_breaks(np.zeros((1, 3, 30)), [0, 1, 2])
    found = survival(breaks, np.arange(30) % 10, draws=50).points[0]
    assert (found.low, found.high) == wilson_interval(10, 10)
    assert found.reason == "Wilson's interval over 10 categories"
