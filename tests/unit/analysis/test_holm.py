import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.analysis import adjust_holm

shares = st.floats(0, 1, allow_nan=False)


@pytest.mark.parametrize(("n", "decimals"), [(1, 3), (7, 3), (30, 4), (30, 1)])
def test_adjusted_values_are_those_of_statsmodels(n, decimals):
    from statsmodels.stats.multitest import multipletests

    values = np.round(np.random.default_rng(n).random(n) ** 3, decimals).tolist()
    assert adjust_holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())


@given(st.lists(shares, min_size=1, max_size=20))
def test_adjusting_never_lowers_a_value_nor_passes_one(values):
    for before, after in zip(values, adjust_holm(values), strict=True):
        assert before <= after <= 1


def test_a_test_that_could_not_be_had_is_not_of_the_family():
    assert adjust_holm([0.01, None, 0.04]) == [0.02, None, 0.04]


def test_nothing_is_adjusted_to_nothing():
    assert adjust_holm([]) == []
    assert adjust_holm([None]) == [None]
