import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.metrics import Bootstrap, estimate_ratio

DRAWS = Bootstrap(draws=400)


def sample(seed, n=90):
    generator = np.random.default_rng(seed)
    return generator.random(n) + 0.5, generator.integers(0, 2, n).astype(float), generator.integers(0, 30, n)


@given(st.integers(0, 5000))
def test_it_is_the_ratio_of_the_sums(seed):
    values, marks, groups = sample(seed)
    _, groups = np.unique(groups, return_inverse=True)
    found = estimate_ratio(values * marks, marks, groups, Bootstrap(draws=0))
    assert found.value == pytest.approx(values[marks == 1].mean())
    assert found.n == marks.sum()


def test_its_interval_is_that_of_whole_groups():
    """Against a plain loop over drawn groups."""
    values, marks, groups = sample(3)
    _, groups = np.unique(groups, return_inverse=True)
    found = estimate_ratio(values * marks, marks, groups, Bootstrap(draws=3000, seed=1))
    generator, drawn = np.random.default_rng(5), []
    rows = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    for _ in range(3000):
        kept = np.concatenate([rows[one] for one in generator.integers(0, len(rows), len(rows))])
        drawn.append((values * marks)[kept].sum() / marks[kept].sum())
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_a_share_of_none_or_all_has_the_interval_of_its_groups():
    groups = np.repeat(np.arange(20), 3)
    none = estimate_ratio(np.zeros(60), np.ones(60), groups, DRAWS)
    every = estimate_ratio(np.ones(60), np.ones(60), groups, DRAWS)
    assert (none.low, every.high) == (0, 1)
    assert none.high == pytest.approx(1.96**2 / (20 + 1.96**2), abs=1e-3)
    assert every.low == pytest.approx(1 - none.high)
    assert "20 groups" in none.reason


def test_no_row_gives_no_figure():
    found = estimate_ratio(np.ones(4), np.zeros(4), np.arange(4), DRAWS)
    assert (found.value, found.n, found.reason) == (None, 0, "no row to take it of")


def test_no_draws_give_no_interval():
    found = estimate_ratio(np.arange(4.0), np.ones(4), np.arange(4), Bootstrap(draws=0))
    assert (found.value, found.low) == (1.5, None)
    assert "no bootstrap draws" in found.reason
