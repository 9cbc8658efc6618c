import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import DataError
from demur.metrics import SequentialMean, SequentialQuantile

times = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@given(times, st.sampled_from([0.5, 0.9, 0.95]))
def test_the_estimate_is_the_quantile_to_two_percent(values, quantile):
    found = SequentialQuantile(quantile)
    found.add_many(values)
    wanted = np.quantile(values, quantile, method="inverted_cdf")
    assert max(wanted, 1e-3) * 0.999999 <= found.estimate() <= max(wanted, 1e-3) * 1.0200001


@given(times)
def test_the_interval_holds_the_estimate_and_order_does_not_matter(values):
    one, other = SequentialQuantile(0.5), SequentialQuantile(0.5)
    one.add_many(values)
    other.add_many(sorted(values))
    low, high = one.interval()
    assert (low, high) == other.interval()
    assert low <= one.estimate() <= (np.inf if high is None else high)


@given(times, st.floats(0.01, 1e6))
def test_a_value_is_ruled_out_where_the_test_of_the_share_above_it_rejects(values, value):
    """The same bet, by the class for means."""
    edge = SequentialQuantile()
    edge.add_many([value])
    bound = edge.estimate()
    found = SequentialQuantile(0.8, level=0.9)
    found.add_many(values)
    share = SequentialMean(0.2, side="greater", level=0.95)
    share.add_many(float(one > bound) for one in values)
    low, _ = found.interval()
    assert (low >= bound) == (share.result().e_value >= 20)


def test_it_covers_the_quantile_at_all_times():
    generator = np.random.default_rng(2)
    wanted = np.exp(3 + 0.8 * 1.6448536)
    missed = 0
    for _ in range(40):
        found = SequentialQuantile()
        is_missed = False
        for _ in range(20):
            found.add_many(generator.lognormal(3, 0.8, 100))
            low, high = found.interval()
            is_missed |= not low <= wanted <= (np.inf if high is None else high)
        missed += is_missed
    assert missed <= 2
    assert 0.8 * wanted < low
    assert high < 1.3 * wanted


def test_ties_do_no_harm():
    found = SequentialQuantile()
    found.add_many([10.0] * 2000)
    low, high = found.interval()
    assert low < 10 <= high < 10.3


def test_nothing_is_said_before_there_is_evidence():
    found = SequentialQuantile()
    assert (found.interval(), found.estimate()) == ((0.0, None), None)
    found.add_many([5.0])
    assert found.interval() == (0.0, None)
    found.add_many([5.0] * 9)  # of ten values none is at or below 4.9, so it is no 95th percentile
    low, high = found.interval()
    assert 4.9 < low < 5
    assert high is None


def test_a_saved_state_goes_on():
    found = SequentialQuantile()
    found.add_many(range(1, 500))
    back = SequentialQuantile.from_json(json.loads(json.dumps(found.to_json())))
    for one in (found, back):
        one.add_many(range(500, 900))
    assert back.to_json() == found.to_json()
    assert back.interval() == found.interval()


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_is_no_time_is_refused(value):
    found = SequentialQuantile()
    with pytest.raises(DataError, match="is not 0 or more; drop it"):
        found.add_many([3.0, value])
    assert found.n == 0


def test_a_quantile_that_is_none_is_refused():
    with pytest.raises(DataError, match=r"quantile 1.0 and level 0.95 must lie between 0 and 1"):
        SequentialQuantile(1.0)
    with pytest.raises(DataError, match="no state of a quantile's sequence"):
        SequentialQuantile.from_json({"quantile": 0.5})
