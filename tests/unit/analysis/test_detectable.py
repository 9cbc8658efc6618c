import pytest
from scipy import stats

from demur.analysis import compare_pairs, smallest_detectable
from demur.analysis._detectable import SMALL_DIFFERENCE, detectable_differences


def test_the_smallest_difference_is_found_with_the_power_asked_for():
    for power in (0.8, 0.9):
        size = smallest_detectable(0.02, alpha=0.05, power=power)
        found = stats.norm.sf(stats.norm.isf(0.025) - size / 0.02)
        assert found == pytest.approx(power, abs=1e-9)


def test_it_is_2_8_standard_errors_by_default():
    assert smallest_detectable(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-5)


def test_pairs_are_summed_up_by_their_median(judged, task, fast):
    rows = {name: judged(skill, seed=place) for place, (name, skill) in enumerate([("a", 1), ("b", 2), ("c", 3)])}
    pairs = compare_pairs(task, rows, "test", fast)
    found = detectable_differences(pairs, fast)["f1_macro"]
    sizes = sorted(smallest_detectable(pair.metrics["f1_macro"].standard_error) for pair in pairs)
    assert (found.smallest, found.median, found.largest) == pytest.approx(tuple(sizes))
    assert (found.pairs, found.n, found.groups) == (3, 120, 40)
    assert found.rows_for_small == round(120 * (sizes[1] / SMALL_DIFFERENCE) ** 2)


def test_models_that_answer_alike_have_no_detectable_difference(judged, task, fast):
    pairs = compare_pairs(task, {"a": judged(1.0), "b": judged(1.0)}, "test", fast)
    assert detectable_differences(pairs, fast) == {}
