import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demur.errors import DataError
from demur.metrics import SequentialMean, SequentialResult
from demur.metrics._sequential_capital import capital_bounds, log_capital

outcomes = st.lists(st.integers(0, 1), min_size=1, max_size=120)


def counted(values, steps=1):
    ids, counts = np.unique(np.rint(np.asarray(values) * steps), return_counts=True)
    return ids / steps, counts.astype(float)


def path_of(values, **settings):
    """The result after every single observation."""
    test = SequentialMean(**settings)
    found = []
    for value in values:
        test.add(value)
        found.append(test.result())
    return found


@given(outcomes, st.floats(0.05, 0.95))
@settings(max_examples=40)
def test_it_equals_the_direct_formula_after_every_observation(values, null):
    path = path_of(values, null=null)
    largest = -math.inf
    low, high = 0.0, 1.0
    for n, found in enumerate(path, 1):
        now = float(log_capital(*counted(values[:n]), null))
        largest = max(largest, now)
        bounds = capital_bounds(*counted(values[:n]), 0.95)
        low, high = max(low, bounds[0]), min(high, bounds[1])
        assert found.e_value == pytest.approx(math.exp(now), rel=1e-9)
        assert found.p_value == pytest.approx(min(1, math.exp(-largest)), rel=1e-9)
        if n <= 20:  # later the interval is looked at a little less often
            assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
        assert found.estimate == pytest.approx(np.mean(values[:n]))
        assert found.n == n


@given(outcomes)
def test_the_interval_only_ever_shrinks_and_the_p_value_only_falls(values):
    path = path_of(values, null=0.5)
    for before, after in pairwise(path):
        assert after.low >= before.low or not after.is_consistent
        assert after.high <= before.high or not after.is_consistent
        assert after.p_value <= before.p_value


@given(outcomes, st.integers(1, 50))
def test_all_at_once_is_exactly_the_same_as_one_by_one(values, size):
    single, chunked = SequentialMean(null=0.4), SequentialMean(null=0.4)
    for value in values:
        single.add(value)
    for start in range(0, len(values), size):
        chunked.add_many(values[start : start + size])
    assert single.to_json() == chunked.to_json()


@given(outcomes, st.integers(0, 119), st.sampled_from(["two-sided", "greater", "less"]))
def test_going_on_from_a_saved_state_is_exactly_the_same(values, cut, side):
    whole, first = SequentialMean(null=0.3, side=side), SequentialMean(null=0.3, side=side)
    whole.add_many(values)
    first.add_many(values[:cut])
    second = SequentialMean.from_json(json.loads(json.dumps(first.to_json())))
    second.add_many(values[cut:])
    assert second.to_json() == whole.to_json()
    assert second.result() == whole.result()


@given(outcomes)
def test_outcomes_in_another_order_end_at_the_same_e_value(values):
    first, second = SequentialMean(null=0.4), SequentialMean(null=0.4)
    first.add_many(values)
    second.add_many(sorted(values))
    assert first.result().e_value == pytest.approx(second.result().e_value)


@given(st.lists(st.floats(-2, 3), min_size=1, max_size=60))
def test_values_of_any_span_are_tested_on_its_grid(values):
    test = SequentialMean(null=0.5, span=(-2, 3), steps=100)
    test.add_many(values)
    found = test.result()
    assert found.estimate == pytest.approx(np.mean(values), abs=0.026)
    assert -2 <= found.low <= found.estimate <= found.high <= 3


def test_before_the_first_observation_nothing_is_said():
    found = SequentialMean(null=0.5).result()
    assert found == SequentialResult(None, 0.0, 1.0, 0.5, 1.0, 0, 0.95)
    assert SequentialMean(null=0.5, side="greater").result().e_value == 1
    assert not found.is_rejected


def test_a_rejection_is_not_taken_back():
    test = SequentialMean(null=0.5, side="greater")
    test.add_many([1] * 30)
    assert test.result().is_rejected
    test.add_many([0] * 400)
    assert test.result().is_rejected
    assert test.result().e_value < 1


def test_the_interval_leaves_the_null_out_at_the_observation_that_rejects_it():
    generator = np.random.default_rng(1)
    test = SequentialMean(null=0.5)
    for value in generator.random(4000) < 0.56:
        test.add(value)
        found = test.result()
        assert found.is_rejected == (found.low > 0.5)
    assert found.is_rejected


def test_one_side_sees_only_its_own_side():
    low = [0] * 200
    greater, less = SequentialMean(null=0.5, side="greater"), SequentialMean(null=0.5, side="less")
    greater.add_many(low)
    less.add_many(low)
    assert (greater.result().p_value, greater.result().low, greater.result().high) == (1.0, 0.0, 1.0)
    assert less.result().is_rejected
    assert less.result().high < 0.05


def test_a_mean_that_moved_is_said_and_the_interval_begins_anew():
    test = SequentialMean(null=0.5)
    test.add_many([0] * 300)
    test.add_many([1] * 3000)
    found = test.result()
    assert not found.is_consistent
    assert found.low > 0.5
    assert not SequentialMean.from_json(test.to_json()).result().is_consistent


def test_overwhelming_evidence_is_still_a_number():
    test = SequentialMean(null=0.5)
    test.add_many([1] * 5000)
    found = test.result()
    assert math.isfinite(found.e_value)
    assert found.p_value == 0 or found.p_value < 1e-300
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["n"] == 5000


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_looking_after_every_observation_rarely_rejects_a_true_null(rate):
    """500 runs of 1,000 looks; the naive z test, looked at as often, rejects in a large part of them."""
    draws = np.random.default_rng(7).random((500, 1000)) < rate
    hits, n = np.cumsum(draws, axis=1), np.arange(1, 1001)
    is_rejected = np.zeros(500, dtype=bool)
    for first in range(0, 500, 100):
        counts = np.stack(
            [n - hits[first : first + 100], hits[first : first + 100]], axis=-1
        )  # (run, look, value)
        capital = log_capital(np.asarray([0.0, 1.0]), counts, rate)
        is_rejected[first : first + 100] = (capital >= math.log(20)).any(axis=1)
    assert is_rejected.mean() <= 0.05
    z = np.abs(hits - n * rate) / np.sqrt(n * rate * (1 - rate))
    assert (z[:, 30:] > 1.96).any(axis=1).mean() > 0.2
    for run in range(5):  # the class says of each run what the formula says of all
        test = SequentialMean(null=rate)
        test.add_many(draws[run])
        assert test.result().is_rejected == is_rejected[run]


@pytest.mark.parametrize("rate", [0.03, 0.5, 0.9])
def test_the_true_mean_stays_inside_at_all_times(rate):
    generator = np.random.default_rng(11)
    missed = 0
    for _ in range(40):
        test = SequentialMean(null=0.5)
        test.add_many(generator.random(400) < rate)
        found = test.result()  # an intersection: inside now means inside at all times
        missed += not (found.is_consistent and found.low <= rate <= found.high)
    assert missed <= 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"null": 0.0}, "the null 0.0 must lie strictly between 0.0 and 1.0"),
        ({"null": 2.0}, "give another span or null"),
        ({"null": 0.5, "side": "both"}, "no side 'both'; give one of two-sided, greater, less"),
        ({"null": 0.5, "level": 1.0}, "level 1.0 must lie between 0 and 1"),
        ({"null": 0.5, "steps": 0}, "steps 0 be 1 or more"),
    ],
)
def test_settings_that_are_off_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        SequentialMean(**settings)


@pytest.mark.parametrize("value", [1.5, -1.0, math.nan, math.inf])
def test_an_observation_outside_the_span_is_refused_and_none_is_taken(value):
    test = SequentialMean(null=0.5)
    with pytest.raises(DataError, match=r"is outside 0\.0 to 1\.0; clip it or widen the span"):
        test.add_many([1, 0, value])
    assert test.result().n == 0


@pytest.mark.parametrize("state", [{}, {"settings": 3}, {"settings": {"null": 0.5}}])
def test_a_foreign_state_is_refused(state):
    with pytest.raises(DataError, match=r"no state of a sequential test .* start the test anew"):
        SequentialMean.from_json(state)
