import json

import numpy as np
import pytest
import statsmodels.api as sm

from demur.errors import DataError, EmptyDataError
from demur.metrics import ScalingPoint, scaling_fit


def points_of(sizes=(1e8, 5e8, 1e9, 3e9, 7e9), ranks=(4, 16, 64), noise=0.1, seed=0):
    """Cells on log C50 = 3 + 1.2 log N - 0.3 log r, with noise."""
    generator = np.random.default_rng(seed)
    found = []
    for size in sizes:
        for rank in ranks:
            log = 3 + 1.2 * np.log10(size) - 0.3 * np.log10(rank) + noise * generator.normal()
            half = generator.uniform(0.05, 0.3)
            found.append(ScalingPoint(size, rank, 10**log, 10 ** (log - half), 10 ** (log + half)))
    return found


def reference(points, weighted):
    design = sm.add_constant(np.log10([[one.parameters, one.rank] for one in points]))
    weights = [1 / np.log10(one.high / one.low) ** 2 if weighted else 1 for one in points]
    return sm.WLS(np.log10([one.c50 for one in points]), design, weights=weights).fit()


@pytest.mark.parametrize("weighted", [False, True])
def test_terms_and_intervals_are_those_of_statsmodels(weighted):
    points = points_of()
    found, expected = scaling_fit(points, weighted), reference(points, weighted)
    terms = found.intercept, found.size, found.rank
    assert [one.value for one in terms] == pytest.approx(expected.params.tolist())
    assert [one.low for one in terms] == pytest.approx(expected.conf_int()[:, 0].tolist())
    assert [one.high for one in terms] == pytest.approx(expected.conf_int()[:, 1].tolist())
    assert found.r_squared == pytest.approx(expected.rsquared)


def test_the_residual_deviation_is_that_of_least_squares():
    points = points_of()
    assert scaling_fit(points).residual_sd == pytest.approx(np.sqrt(reference(points, False).scale))


def test_a_law_without_noise_is_found_exactly():
    found = scaling_fit(points_of(noise=0))
    assert (found.intercept.value, found.size.value, found.rank.value) == pytest.approx((3, 1.2, -0.3))
    assert found.r_squared == pytest.approx(1)


def test_intervals_cover_the_exponent_at_the_nominal_rate():
    found = [scaling_fit(points_of(seed=seed)).size for seed in range(400)]
    assert 0.92 <= np.mean([one.low <= 1.2 <= one.high for one in found]) <= 0.98


def test_few_sizes_are_flagged_as_a_trend():
    found = scaling_fit(points_of(sizes=(1e8, 1e9, 3e9, 7e9)))
    assert found.is_trend_only
    assert "4 sizes of model: a trend at best, not a law" in found.warnings
    assert not scaling_fit(points_of()).is_trend_only


def test_a_quantity_that_never_varies_is_left_out_with_the_reason():
    found = scaling_fit(points_of(ranks=(16,)))
    assert found.rank.value is None
    assert found.rank.reason == "all cells have the same rank"
    assert found.size.value is not None
    same_size = scaling_fit(points_of(sizes=(1e9,)))
    assert same_size.size.reason == "all cells have the same number of parameters"


def test_cells_with_only_a_bound_are_left_out_and_counted():
    found = scaling_fit([*points_of(), ScalingPoint(7e10, 16, None)])
    assert (found.n, found.n_left_out) == (15, 1)
    assert any("1 cells have only a bound" in one for one in found.warnings)


def test_as_many_terms_as_cells_give_no_interval():
    found = scaling_fit(points_of(sizes=(1e8, 1e9), ranks=(16,)))
    assert found.size.low is None
    assert "leave nothing to tell the error by" in found.size.reason
    assert found.residual_sd is None


def test_fewer_than_two_cells_with_a_c50_are_refused():
    with pytest.raises(EmptyDataError, match="1 of 2 cells have a C50"):
        scaling_fit([ScalingPoint(1e8, 4, 1e12), ScalingPoint(1e9, 4, None)])


def test_size_and_rank_that_rise_together_are_refused():
    with pytest.raises(DataError, match="vary one while the other stays"):
        scaling_fit([ScalingPoint(10.0**k, 10.0**k, 10.0**k) for k in range(1, 6)])


def test_a_number_that_has_no_logarithm_is_refused():
    with pytest.raises(DataError, match="cell 2 has rank 0"):
        scaling_fit([ScalingPoint(1e8, 4, 1e12), ScalingPoint(1e9, 0, 1e13)])


def test_weights_need_closed_intervals():
    points = [*points_of(), ScalingPoint(7e9, 4, 1e12, 1e11, None)]
    with pytest.raises(DataError, match="cell 16 has no closed interval"):
        scaling_fit(points, weighted=True)


def test_results_can_be_written_as_json():
    assert json.loads(json.dumps(scaling_fit(points_of()).to_json()))["n"] == 15
