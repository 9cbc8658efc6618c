import numpy as np
import pytest
from scipy import stats

from demur.errors import DataError
from demur.metrics import block_test


def autocorrelated(generator, n, mean=0.0):
    """Values that last for about five rows, as latency under load does."""
    noise = generator.normal(size=n + 40)
    return mean + np.convolve(noise, np.ones(5) / np.sqrt(5), "valid")[-n:]


def test_the_p_value_is_that_of_scipy_on_block_means():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=200), generator.normal(0.5, size=100)
    means = [values.reshape(-1, 10).mean(axis=1) for values in (first, second)]
    wanted = stats.mannwhitneyu(means[1], means[0], alternative="greater").pvalue
    assert block_test("latency", first, second).p_value == pytest.approx(wanted)


def test_false_signals_stay_rare_where_neighbours_are_alike():
    generator = np.random.default_rng(1)

    def signals(block):
        found = [
            block_test("x", autocorrelated(generator, 500), autocorrelated(generator, 250), block).p_value <= 0.05
            for _ in range(400)
        ]
        return np.mean(found)

    assert signals(20) < 0.09
    assert signals(1) > 0.12


def test_a_rise_is_found_and_a_fall_is_not():
    generator = np.random.default_rng(2)
    first = autocorrelated(generator, 500)
    assert block_test("x", first, autocorrelated(generator, 250, mean=2)).p_value < 1e-3
    assert block_test("x", first, autocorrelated(generator, 250, mean=-2)).p_value > 0.5


def test_more_errors_are_found():
    generator = np.random.default_rng(3)
    before, after = generator.random(800) < 0.01, generator.random(300) < 0.2
    assert block_test("errors", before, after).p_value < 1e-6


def test_no_error_on_either_side_is_no_signal():
    found = block_test("errors", np.zeros(100), np.zeros(100))
    assert (found.p_value, found.statistic) == (1.0, 0.0)


def test_few_rows_are_not_tested():
    assert block_test("x", np.zeros(500), np.zeros(79)).reason == "fewer than 80 rows on one side"


def test_values_without_numbers_are_refused():
    with pytest.raises(DataError, match="no finite numbers"):
        block_test("x", [np.nan], [1.0])
