import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from demur.metrics import exact_interval, exact_lower

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.8, 0.95]))
def test_bounds_are_those_of_scipy(counts, level):
    successes, n = counts
    wanted = stats.binomtest(successes, n).proportion_ci(level, method="exact")
    assert exact_interval(successes, n, level) == (pytest.approx(wanted.low), pytest.approx(wanted.high))
    one_sided = stats.binomtest(successes, n, alternative="greater").proportion_ci(level, method="exact")
    assert exact_lower(successes, n, level) == pytest.approx(one_sided.low)


def test_no_rows_say_nothing():
    assert exact_interval(0, 0) == (0.0, 1.0)
    assert exact_lower(0, 0) == 0.0


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.5])
@pytest.mark.parametrize("n", [25, 75])
def test_the_lower_bound_passes_the_truth_at_most_as_often_as_it_says(rate, n):
    too_high = sum(stats.binom.pmf(k, n, rate) for k in range(n + 1) if exact_lower(k, n, 0.9) > rate)
    assert too_high <= 0.1 + 1e-9
