import json

import numpy as np
import pytest
from scipy import optimize, special, stats

from demur.metrics import Bootstrap, c50, first_breaks
from demur.metrics._breaks import count_breaks
from demur.metrics._c50 import _fit, _Intervals
from demur.metrics._two_level import TwoLevels

BUDGETS = np.array([0, *(2.0 ** np.arange(10))]) * 1e12
MIDDLE, SPREAD = 13.2, 0.25


def simulate(generator, n_seeds=1, n_prompts=100, middle=MIDDLE, seed_sd=0.0):
    """Compliance along the budgets of prompts whose first break is logistic in log10 FLOPs."""
    at = middle + generator.normal(0, 1, (n_seeds, 1)) * seed_sd
    at = 10 ** (at + SPREAD * generator.logistic(size=(n_seeds, n_prompts)))
    return (at[:, None, :] <= BUDGETS[None, :, None]).astype(float)


def breaks_of(seed=0, **options):
    return first_breaks(simulate(np.random.default_rng(seed), **options), BUDGETS)


def plain_loss(breaks, middle, spread):
    """Minus the log-likelihood, in the plainest words there are."""
    total = 0.0
    for low, high in zip(breaks.low.ravel(), breaks.high.ravel(), strict=True):
        upper = 1.0 if np.isinf(high) else special.expit((np.log10(max(high, breaks.smallest)) - middle) / spread)
        lower = 0.0 if low == 0 else special.expit((np.log10(low) - middle) / spread)
        total -= np.log(upper - lower)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_the_estimate_is_that_of_a_plain_search(seed):
    breaks = breaks_of(seed, middle=13.4)
    best = optimize.minimize(
        lambda x: plain_loss(breaks, x[0], np.exp(x[1])),
        [13.0, -1.0],
        method="Nelder-Mead",
        options={"xatol": 1e-6},
    )
    found = c50(breaks)
    assert np.log10(found.value) == pytest.approx(best.x[0], abs=1e-3)
    assert 1 / found.slope == pytest.approx(np.exp(best.x[1]), rel=5e-3)


@pytest.mark.parametrize("end", ["low", "high"])
def test_at_the_ends_of_the_profile_interval_the_likelihood_has_fallen_by_its_limit(end):
    breaks = breaks_of(1)
    found = c50(breaks)
    place = np.log10(getattr(found, end))
    at_end = optimize.minimize_scalar(
        lambda s: plain_loss(breaks, place, np.exp(s)), bounds=(-4, 2), method="bounded"
    )
    best = plain_loss(breaks, np.log10(found.value), 1 / found.slope)
    assert at_end.fun - best == pytest.approx(stats.chi2.ppf(0.95, 1) / 2, abs=0.01)
    assert found.method == "profile likelihood"


def test_derivatives_are_those_of_finite_differences():
    breaks = breaks_of(2, n_prompts=30)
    counted = count_breaks(breaks, TwoLevels(breaks.shape, None, Bootstrap()))
    data, weights = _Intervals(counted.low, counted.high, breaks), counted.counts.sum(axis=(0, 2))[None]
    a, b, h = np.array([0.3]), np.array([1.7]), 1e-4

    def value(i, j):
        return data.log_likelihood(a + i * h, b + j * h, weights)[0]

    found = [float(one[0]) for one in data.derivatives(a, b, weights)]
    middle = value(0, 0)
    expected = [
        (value(1, 0) - value(-1, 0)) / (2 * h),
        (value(0, 1) - value(0, -1)) / (2 * h),
        (value(1, 0) - 2 * middle + value(-1, 0)) / h**2,
        (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)) / (4 * h**2),
        (value(0, 1) - 2 * middle + value(0, -1)) / h**2,
    ]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_many_weightings_are_fitted_as_one_by_one():
    breaks = breaks_of(3)
    counted = count_breaks(breaks, TwoLevels(breaks.shape, None, Bootstrap()))
    data = _Intervals(counted.low, counted.high, breaks)
    weights = np.random.default_rng(0).integers(1, 20, (15, len(counted.low))).astype(float)
    together = _fit(data, weights).middle
    alone = [float(_fit(data, row[None]).middle[0]) for row in weights]
    assert together.tolist() == pytest.approx(alone, abs=1e-4)


def test_the_truth_is_recovered_and_covered_at_the_nominal_rate_by_the_profile_interval():
    generator = np.random.default_rng(0)
    found = [c50(first_breaks(simulate(generator), BUDGETS)) for _ in range(200)]
    values = np.log10([one.value for one in found])
    assert values.mean() == pytest.approx(MIDDLE, abs=0.01)
    covered = np.mean([one.low <= 10**MIDDLE <= one.high for one in found])
    assert 0.92 <= covered <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("n_seeds", "seed_sd"), [(5, 0.1), (3, 0.1), (5, 0.3)])
def test_the_bootstrap_interval_covers_the_truth_over_seeds(n_seeds, seed_sd):
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        cells = simulate(generator, n_seeds, seed_sd=seed_sd)
        found = c50(first_breaks(cells, BUDGETS), draws=300)
        covered.append(found.low <= 10**MIDDLE <= found.high)
    assert 0.9 <= np.mean(covered) <= 0.985


def test_seeds_that_differ_widen_the_interval():
    alike, unlike = (c50(breaks_of(0, n_seeds=5, seed_sd=sd), draws=400) for sd in (0.0, 0.4))
    assert np.log10(unlike.high / unlike.low) > 2 * np.log10(alike.high / alike.low)
    assert alike.method == "two-level bootstrap"


def test_a_curve_that_never_reaches_half_gives_a_bound_and_no_number():
    found = c50(breaks_of(middle=14.9))
    assert (found.value, found.bound, found.bound_at, found.high) == (None, "above", BUDGETS[-1], None)
    assert found.low <= BUDGETS[-1]
    assert "fewer than half" in found.reason


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_where_nothing_broke_c50_lies_above_every_budget_tried(n_seeds):
    found = c50(first_breaks(np.zeros((n_seeds, len(BUDGETS), 40)), BUDGETS), draws=100)
    assert (found.value, found.bound, found.low, found.high) == (None, "above", BUDGETS[-1], None)
    assert (found.n_broken, found.slope) == (0, None)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_where_all_had_broken_at_once_c50_lies_below_every_budget_tried(n_seeds):
    found = c50(first_breaks(np.ones((n_seeds, len(BUDGETS), 40)), BUDGETS), draws=100)
    assert (found.value, found.bound, found.bound_at, found.high) == (None, "below", BUDGETS[1], BUDGETS[1])
    assert (found.low, found.n_at_start) == (None, 40 * n_seeds)


def test_an_end_beyond_the_budgets_tried_is_open():
    found = c50(breaks_of(4, middle=14.6, n_prompts=30))
    assert found.value is not None
    assert found.low is not None
    assert found.high is None


def test_breaks_all_between_two_checkpoints_give_these_as_the_interval():
    cells = np.zeros((1, 4, 20))
    cells[:, 2:] = 1
    found = c50(first_breaks(cells, [0, 10, 40, 160]))
    assert (found.low, found.high) == pytest.approx((10, 40))
    assert found.value == pytest.approx(20)
    assert "place checkpoints closer" in found.reason


def test_breaks_around_one_checkpoint_put_c50_near_it():
    cells = np.zeros((1, 4, 20))
    cells[:, 1, :8], cells[:, 2:] = 1, 1
    found = c50(first_breaks(cells, [10, 20, 40, 80]))
    assert 15 < found.low < found.value < found.high < 45


def test_runs_stopped_early_are_censored_and_not_lost():
    generator = np.random.default_rng(5)
    cells = simulate(generator, n_seeds=3, n_prompts=200)
    whole = c50(first_breaks(cells, BUDGETS), draws=100)
    cells[0, 8:] = np.nan
    stopped = c50(first_breaks(cells, BUDGETS), draws=100)
    assert np.log10(stopped.value) == pytest.approx(np.log10(whole.value), abs=0.03)


def test_the_unit_of_the_budget_only_scales_the_answer():
    cells = simulate(np.random.default_rng(6))
    small, large = (c50(first_breaks(cells, BUDGETS * scale)) for scale in (1e-12, 1e6))
    assert large.value / small.value == pytest.approx(1e18, rel=1e-6)
    assert large.high / small.high == pytest.approx(1e18, rel=1e-3)


def test_without_a_judged_response_there_is_no_c50():
    found = c50(first_breaks(np.full((2, 3, 4), np.nan), [0, 1, 2]))
    assert (found.value, found.bound, found.reason) == (None, None, "no response could be scored")


def test_without_draws_there_is_a_value_and_no_interval():
    found = c50(breaks_of(n_seeds=3), draws=0)
    assert found.value is not None
    assert (found.low, found.high) == (None, None)
    assert "no bootstrap draws" in found.reason


def test_one_seed_is_flagged_and_the_result_can_be_written():
    found = json.loads(json.dumps(c50(breaks_of()).to_json()))
    assert found["warnings"] == ["one seed: the intervals do not hold the spread over trainings"]
    assert found["bound"] is None


@pytest.mark.parametrize(("clusters", "has_interval"), [(5, False), (6, True)])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_too_few_categories_give_a_value_and_no_interval(n_seeds, clusters, has_interval):
    breaks = breaks_of(0, n_seeds=n_seeds)
    found = c50(breaks, np.arange(breaks.shape[1]) % clusters, draws=100)
    assert found.value is not None
    assert (found.low is not None) == has_interval
    if not has_interval:
        assert found.reason == "no interval: 5 categories, fewer than 6"


def test_a_bound_of_few_prompts_says_so_as_well():
    found = c50(first_breaks(np.zeros((1, len(BUDGETS), 4)), BUDGETS))
    assert (found.bound, found.low) == ("above", None)
    assert found.reason.endswith("; no interval: 4 prompts, fewer than 6")
