import numpy as np
import pytest

from demur.metrics import SequentialResult
from demur.serve.experiments._streams import Streams
from demur.serve.experiments._verdict import gain_of, reach_verdict

EVEN = {"champion": 0.5, "challenger": 0.5}
PROMOTE = {"rule": "superior", "min_rows": 100, "min_hours": 24}


def streams_of(config, rates, n=3000, weights=EVEN, is_paired=False):
    """Observations with these rates of the deciding metric, arm by arm."""
    streams, generator = Streams(config, weights, is_paired=is_paired), np.random.default_rng(1)
    for _ in range(n):
        for arm in config.arms:
            streams._observe(arm, {config.metric: float(generator.random() < rates[arm])})
            streams.rows[arm] += 1
    streams.flush()
    return streams


@pytest.mark.parametrize(("metric", "rate"), [("accuracy", 0.95), ("flag_rate", 0.75)])
def test_a_challenger_that_is_better_is_promoted_whichever_way_is_better(make_config, metric, rate):
    config = make_config(metric=metric, promote=PROMOTE)
    streams = streams_of(config, {"champion": 0.85, "challenger": rate})
    found = reach_verdict(config, "running", streams, 24)
    assert (found.to, found.arm) == ("promoted", "challenger")
    assert "better than the champion" in found.reason
    assert found.facts["result"]["n"] == 3000
    assert reach_verdict(config, "running", streams, 24, is_behind=True) is None


@pytest.mark.parametrize(("metric", "rate"), [("accuracy", 0.75), ("flag_rate", 0.95)])
def test_challengers_that_are_all_worse_are_rolled_back_in_either_stage(make_config, metric, rate):
    config = make_config(metric=metric)
    streams = streams_of(config, {"champion": 0.85, "challenger": rate})
    for stage in ("shadow", "running"):
        found = reach_verdict(config, stage, streams, 0)
        assert found.to == "rolled_back"
        assert "no challenger is as good as the champion" in found.reason
        assert reach_verdict(config, stage, streams, 0, is_behind=True) == found
    assert reach_verdict(make_config(metric=metric, roll_back={"rule": "never"}), "running", streams, 0) is None
    assert reach_verdict(make_config(metric=metric, roll_back={"margin": 0.2}), "running", streams, 0) is None


def test_one_challenger_that_is_worse_does_not_end_what_another_may_win(make_config):
    arms = [{"version": "v2", "name": "good"}, {"version": "v3", "name": "bad"}]
    config = make_config(challengers=arms, promote=PROMOTE)
    weights = {"champion": 1, "good": 1, "bad": 1}
    streams = streams_of(config, {"champion": 0.8, "good": 0.9, "bad": 0.6}, weights=weights)
    assert reach_verdict(config, "running", streams, 1) is None
    assert reach_verdict(config, "running", streams, 24).arm == "good"


def test_equal_arms_wait_and_then_stop(make_config):
    config = make_config(promote=PROMOTE, max_hours=100)
    streams = streams_of(config, {"champion": 0.85, "challenger": 0.85})
    assert reach_verdict(config, "running", streams, 99) is None
    found = reach_verdict(config, "running", streams, 100)
    assert (found.to, found.reason) == ("stopped", "no winner after 100 hours")
    assert reach_verdict(make_config(max_hours=None), "running", streams, 1e6) is None


def test_no_worse_is_enough_where_the_rule_says_so(make_config):
    rates = {"champion": 0.85, "challenger": 0.85}
    config = make_config(promote=PROMOTE | {"rule": "non_inferior", "margin": 0.08})
    found = reach_verdict(config, "running", streams_of(config, rates), 24)
    assert "no worse than the champion" in found.reason
    strict = make_config(promote=PROMOTE | {"rule": "non_inferior", "margin": 0.001})
    assert reach_verdict(strict, "running", streams_of(strict, rates), 24) is None


def test_a_margin_asks_for_more_than_better(make_config):
    rates = {"champion": 0.85, "challenger": 0.95}
    config = make_config(promote=PROMOTE | {"margin": 0.2})
    assert reach_verdict(config, "running", streams_of(config, rates), 24) is None


@pytest.mark.parametrize("values", [{"min_rows": 4000}, {"min_hours": 48}, {"rule": "never"}])
def test_too_few_rows_or_hours_promote_nobody(make_config, values):
    config = make_config(promote=PROMOTE | values)
    streams = streams_of(config, {"champion": 0.85, "challenger": 0.95})
    assert reach_verdict(config, "running", streams, 24) is None


def test_arms_that_do_not_get_their_shares_promote_nobody(make_config):
    config = make_config(promote=PROMOTE)
    streams = streams_of(config, {"champion": 0.85, "challenger": 0.95})
    streams.balance["challenger"].add_many([0.0] * 500)
    assert reach_verdict(config, "running", streams, 24) is None


def test_a_difference_that_turned_promotes_nobody(make_config):
    config = make_config(promote=PROMOTE, roll_back={"rule": "never"})
    streams = streams_of(config, {"champion": 0.9, "challenger": 0.5}, n=500)
    for _ in range(20_000):
        streams._observe("champion", {"accuracy": 0.0})
        streams._observe("challenger", {"accuracy": 1.0})
    streams.flush()
    found = streams.tests["challenger"].test.result()
    assert found.low > 0
    assert not found.is_consistent
    assert reach_verdict(config, "running", streams, 24) is None


def test_a_guard_rail_comes_before_a_promotion(make_config):
    config = make_config(promote=PROMOTE, guards=[{"metric": "error_rate", "at_most": 0.02}])
    streams = streams_of(config, {"champion": 0.85, "challenger": 0.95})
    streams.add_failures("challenger", 300)
    streams.flush()
    found = reach_verdict(config, "running", streams, 24)
    assert (found.to, found.arm) == ("rolled_back", "challenger")
    assert found.reason == "challenger passed a guard rail: error_rate at most 0.02"
    assert found.facts["guard"]["at_most"] == 0.02
    assert found.facts["result"]["p_value"] < 0.01


def test_a_shadow_begins_to_answer_once_it_has_judged_enough(make_config):
    config = make_config(shadow={"min_rows": 100, "min_hours": 2})
    fine = streams_of(config, {"champion": 0.85, "challenger": 0.85}, n=100)
    assert reach_verdict(config, "shadow", fine, 1.9) is None
    assert reach_verdict(config, "shadow", fine, 2).to == "running"
    few = streams_of(config, {"champion": 0.85, "challenger": 0.85}, n=99)
    assert reach_verdict(config, "shadow", few, 2) is None
    waits = make_config(shadow={"then": "wait", "min_rows": 1, "min_hours": 0})
    assert reach_verdict(waits, "shadow", fine, 2) is None


def test_a_gain_is_the_difference_turned_so_that_more_is_better():
    result = SequentialResult(0.1, 0.05, 0.2, 1.0, 1.0, 10, 0.95)
    assert gain_of("accuracy", result) == (0.05, 0.2)
    assert gain_of("latency_ms", result) == (-0.2, -0.05)
