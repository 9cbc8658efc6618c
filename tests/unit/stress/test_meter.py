"""Operations follow the parameters and tokens; the clock leaves out what it is told to."""

import itertools

import pytest

from demur.stress import Cost, _meter, reckon_flops
from demur.stress._meter import Meter


@pytest.fixture
def ticking(monkeypatch):
    """Every look at the clock is a second after the one before."""
    ticks = itertools.count(100.0)
    monkeypatch.setattr(_meter.time, "perf_counter", lambda: next(ticks))


@pytest.mark.parametrize("kind", ["forward", "adapter", "full"])
def test_operations_are_those_that_are_reckoned_elsewhere(target, kind):
    meter = Meter(target.module)
    meter.add(7, kind)
    assert meter.flops == reckon_flops(target.module, 7, kind)


def test_only_tokens_with_a_backward_pass_were_trained_on(target):
    meter = Meter(target.module)
    meter.add(3)
    meter.add(5, "adapter")
    cost = meter.cost(trainable=4, examples=2)
    assert (cost.tokens, cost.trainable, cost.examples) == (5, 4, 2)


def test_what_was_spent_before_a_kill_is_counted(target, ticking):
    meter = Meter(target.module, Cost(flops=1.0, tokens=9, seconds=50.0))
    cost = meter.cost()
    assert (cost.flops, cost.tokens, cost.seconds) == (1.0, 9, 51.0)


def test_the_clock_stands_still_while_paused(target, ticking):
    meter = Meter(target.module)  # 100
    assert meter.seconds == 1.0  # 101
    meter.pause()  # 102
    assert [meter.seconds, meter.seconds] == [2.0, 2.0]
    meter.go_on()  # 103: one second is taken out
    assert meter.seconds == 3.0  # 104


def test_going_on_without_a_pause_changes_nothing(target, ticking):
    meter = Meter(target.module)
    meter.go_on()
    assert meter.seconds == 1.0
