import numpy as np
import pytest
from scipy import stats

from demur.errors import DataError
from demur.metrics import Permutations, bin_counts, kolmogorov_smirnov_test, stability_of_values


def test_the_statistic_and_p_value_are_those_of_scipy():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=300), generator.normal(0.2, size=150)
    found, wanted = kolmogorov_smirnov_test("ks", first, second), stats.ks_2samp(first, second, method="asymp")
    assert (found.statistic, found.p_value) == (pytest.approx(wanted.statistic), pytest.approx(wanted.pvalue))


def test_small_samples_have_the_exact_distribution():
    found = kolmogorov_smirnov_test("ks", [1, 2, 3, 4], [5, 6, 7])
    assert found.p_value == pytest.approx(stats.ks_2samp([1, 2, 3, 4], [5, 6, 7], method="exact").pvalue)
    assert found.method == "exact distribution"


@pytest.mark.parametrize("repeats", [False, True], ids=["continuous", "three answers"])
def test_false_signals_are_at_most_alpha(repeats):
    generator = np.random.default_rng(1)

    def draw(n):
        return generator.choice([0.1, 0.5, 0.9], n) if repeats else generator.beta(0.5, 0.5, n)

    found = np.array([kolmogorov_smirnov_test("ks", draw(500), draw(150)).p_value for _ in range(800)])
    assert (found <= 0.05).mean() < 0.07
    if not repeats:
        assert (found <= 0.05).mean() > 0.03


def test_bins_hold_equally_many_of_both_together():
    generator = np.random.default_rng(2)
    first, second = generator.random(700), generator.random(300)
    ours, theirs = bin_counts(first, second)
    assert (ours + theirs).tolist() == pytest.approx([100] * 10, abs=1)
    assert (ours.sum(), theirs.sum()) == (700, 300)


def test_equal_values_share_a_bin():
    ours, theirs = bin_counts([0.0] * 90 + [1.0] * 10, [0.0] * 10 + [1.0] * 10)
    filled = (ours + theirs) > 0
    assert ours[filled].tolist() == [90, 10]
    assert theirs[filled].tolist() == [10, 10]


def test_bins_do_not_depend_on_which_side_a_row_is_of():
    values = np.random.default_rng(3).random(200)
    swapped = np.random.default_rng(4).permutation(values)
    one, two = bin_counts(values[:120], values[120:]), bin_counts(swapped[:120], swapped[120:])
    assert (one[0] + one[1]).tolist() == (two[0] + two[1]).tolist()


def test_stability_holds_its_level_on_a_score_and_finds_a_shift():
    generator = np.random.default_rng(5)
    found = [
        stability_of_values(
            "psi", generator.beta(0.4, 0.6, 400), generator.beta(0.4, 0.6, 120), settings=Permutations(most=499)
        ).p_value
        for _ in range(400)
    ]
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.085
    moved = stability_of_values("psi", generator.beta(0.4, 0.6, 400), generator.beta(1, 0.6, 200))
    assert moved.p_value < 0.01
    assert moved.facts["bins"] == 10


def test_a_side_without_rows_is_not_tested():
    assert kolmogorov_smirnov_test("ks", [], [1.0]).reason == "one side has no rows"
    assert stability_of_values("psi", [], [1.0]).reason == "one side has no rows"
    assert stability_of_values("psi", [], []).reason == "one side has no rows"


@pytest.mark.parametrize("values", [[np.nan], [[1.0]], [np.inf]])
def test_what_is_no_column_of_numbers_is_refused(values):
    with pytest.raises(DataError, match="no finite numbers"):
        kolmogorov_smirnov_test("ks", values, [1.0])
