import numpy as np
import pytest

from demur.metrics import SequentialDifference, SequentialMean
from demur.serve.experiments import GuardConfig
from demur.serve.experiments._guards import (
    Bound,
    Comparison,
    is_breached,
    metric_span,
    new_comparison,
    new_guard,
    restore_tests,
)

EVEN = {"champion": 0.5, "challenger": 0.5}


def test_the_deciding_test_shares_its_level_among_challengers(make_config):
    one = new_comparison(make_config(), "challenger", EVEN, is_paired=False)
    assert one.test.result().level == pytest.approx(0.95)
    two = make_config(challengers=[{"version": "v2"}, {"version": "v3", "name": "third"}])
    weights = EVEN | {"third": 0.5}
    assert new_comparison(two, "third", weights, is_paired=False).test.result().level == pytest.approx(0.975)


def test_what_waits_is_counted_in_order_when_it_is_flushed(make_config):
    comparison = new_comparison(make_config(), "challenger", EVEN, is_paired=False)
    plain = SequentialDifference()
    for arm, value in ((0, 1.0), (0, 0.0), (1, 1.0), (1, 1.0), (0, 1.0)):
        comparison.add(arm, value)
        plain.add(arm, value)
    assert comparison.test.result().n == 0
    comparison.flush()
    comparison.flush()
    assert comparison.test.to_json() == plain.to_json()


def test_pairs_and_times_beyond_the_cap_are_counted(make_config):
    config = make_config(metric="latency_ms", latency_cap_ms=200)
    assert metric_span(config, "latency_ms") == ((0.0, 200.0), 100)
    comparison = new_comparison(config, "challenger", EVEN, is_paired=True)
    comparison.add_pair(50.0, 9000.0)
    comparison.flush()
    assert comparison.test.result().estimate == pytest.approx(150)


def test_a_bound_on_the_95th_percentile_acts_on_the_share_of_times_above_it(make_config):
    guard = GuardConfig(metric="latency_p95_ms", at_most=100, alpha=0.01)
    config = make_config(guards=[guard.model_dump()])
    generator = np.random.default_rng(3)
    fine, slow = (new_guard(config, guard, "challenger", EVEN, is_paired=False) for _ in range(2))
    assert isinstance(fine, Bound)
    for _ in range(3000):
        fine.add({"latency_ms": generator.exponential(100 / 3.3)})  # its 95th percentile is 91 ms
        slow.add({"latency_ms": generator.exponential(100 / 2.2)})  # 136 ms
        fine.add({"flag_rate": 1.0})
    for one in (fine, slow):
        one.flush()
    assert fine.test.result().n == 3000
    assert not is_breached(guard, fine)
    assert is_breached(guard, slow)


def test_a_bound_on_a_rate_acts_on_excess_alone(make_config):
    guard = GuardConfig(metric="error_rate", at_most=0.05)
    found = new_guard(make_config(guards=[guard.model_dump()]), guard, "challenger", EVEN, is_paired=False)
    for _ in range(500):
        found.add({"error_rate": 0.0})
    found.flush()
    assert not is_breached(guard, found)
    for _ in range(100):
        found.add({"error_rate": 1.0})
    found.flush()
    assert is_breached(guard, found)


def test_a_bound_on_the_excess_over_the_champion_needs_more_than_a_difference(make_config):
    guard = GuardConfig(metric="flag_rate", above_champion=0.2)
    config = make_config(guards=[guard.model_dump()])
    breached = []
    for rate in (0.4, 0.8):
        found = new_guard(config, guard, "challenger", EVEN, is_paired=False)
        assert isinstance(found, Comparison)
        generator = np.random.default_rng(1)
        for _ in range(1500):
            found.add(0, float(generator.random() < 0.3))
            found.add(1, float(generator.random() < rate))
        found.flush()
        assert found.test.result().low > 0
        breached.append(is_breached(guard, found))
    assert breached == [False, True]


def test_guards_rarely_act_without_need(make_config):
    """A challenger exactly at the bound, looked at after every row."""
    guard = GuardConfig(metric="error_rate", at_most=0.1, alpha=0.05)
    config, generator = make_config(guards=[guard.model_dump()]), np.random.default_rng(5)
    breached = 0
    for _ in range(40):
        found = new_guard(config, guard, "challenger", EVEN, is_paired=False)
        for value in generator.random(400) < 0.1:
            found.add({"error_rate": float(value)})
        found.flush()
        breached += is_breached(guard, found)
    assert breached <= 5


def test_tests_are_brought_back_to_their_states(make_config):
    guards = [{"metric": "error_rate", "at_most": 0.1}, {"metric": "flag_rate", "above_champion": 0.1}]
    config = make_config(guards=guards)
    made, back = (
        [new_guard(config, one, "challenger", EVEN, is_paired=False) for one in config.guards] for _ in range(2)
    )
    made[0].add({"error_rate": 1.0})
    made[1].add(0, 1.0)
    for one in made:
        one.flush()
    restore_tests(back, [one.test.to_json() for one in made])
    assert [one.test.to_json() for one in back] == [one.test.to_json() for one in made]
    assert isinstance(back[0].test, SequentialMean)
    assert isinstance(back[1].test, SequentialDifference)
