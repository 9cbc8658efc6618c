import logging
import threading
import time

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError, StoreUnavailableError
from demur.serve.control import ControlConfig, Controller, Step
from demur.store import open_store


def config(**values):
    return parse_settings(ControlConfig, {"lease_s": 0.5} | values)


def step(name, run, **values):
    return Step(name=name, run=run, **({"every_s": 0.02} | values))


class Running:
    """A controller in a thread, until the block ends."""

    def __init__(self, controller):
        self.controller, self.stop, self.ended = controller, threading.Event(), None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        self.ended = self.controller.run(lambda: self.stop.wait(0.02))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *details):
        self.stop.set()
        self.thread.join()


def test_a_step_that_fails_or_hangs_stops_no_other(store, until):
    hanging, counted = threading.Event(), []

    def fail(now):
        raise RuntimeError("broken")

    steps = [step("fails", fail), step("hangs", lambda now: hanging.wait(60)), step("works", counted.append)]
    with Running(Controller(store, steps, config())):
        until(lambda: len(counted) > 5)
        hanging.set()


def test_it_ends_within_a_second_although_a_step_hangs(store, until, busy_second):
    hanging, begun = threading.Event(), threading.Event()

    def hang(now):
        begun.set()
        hanging.wait(60)

    running = Running(Controller(store, [step("hangs", hang)], config()))
    with running:
        assert begun.wait(20)
        started = time.monotonic()
    assert time.monotonic() - started < busy_second()
    assert running.ended is False
    hanging.set()


def test_every_thread_has_ended_where_nothing_hangs(store, until):
    runs = []
    running = Running(Controller(store, [step("works", runs.append)], config()))
    with running:
        until(lambda: runs)
    assert running.ended is True


def test_a_step_is_closed_at_the_end_and_one_that_cannot_be_keeps_no_other(store, until):
    closed, runs = [], []

    def broken():
        raise RuntimeError("broken")

    steps = [
        step("one", runs.append, close=broken),
        step("two", runs.append, close=lambda: closed.append("two")),
    ]
    with Running(Controller(store, steps, config())):
        until(lambda: runs)
    assert closed == ["two"]


def test_only_one_of_two_controllers_acts_and_the_other_takes_over(url, store, until):
    acted = {"a": [], "b": []}
    with open_store(url) as other:
        first = Running(Controller(store, [step("works", acted["a"].append)], config()))
        second = Running(Controller(other, [step("works", acted["b"].append)], config()))
        with first:
            until(lambda: acted["a"])
            with second:
                count = len(acted["a"])
                until(lambda: len(acted["a"]) > count + 20)
                assert acted["b"] == []
                first.stop.set()
                first.thread.join()
                until(lambda: acted["b"])
    assert max(acted["a"]) < min(acted["b"])


def test_what_goes_on_behind_a_step_is_paused_when_the_lease_is_lost(store, until, caplog):
    caplog.set_level(logging.INFO)
    paused, runs = threading.Event(), []
    steps = [
        step("leads", runs.append, pause=paused.set),
        step("local", runs.append, needs_lease=False, pause=lambda: pytest.fail("it keeps no lease")),
    ]
    controller = Controller(store, steps, config())
    with Running(controller):
        until(lambda: controller.leadership.is_leader)
        until(lambda: controller._was_leader)
        # A rival whose lease holds: ours is not renewed any more.
        while store.lease("controller", "rival", 60) is None:
            store.release("controller", controller.leadership.holder)
        assert paused.wait(20)
    assert any("does not act any more" in record.message for record in caplog.records)


def test_preparation_is_tried_until_it_is_done_and_nothing_acts_before(store, until, caplog):
    attempts, runs = [], []

    def prepare():
        attempts.append(len(runs))
        if len(attempts) < 3:
            raise StoreUnavailableError("the database does not answer")

    with Running(Controller(store, [step("works", runs.append)], config(), prepare=prepare)):
        until(lambda: runs)
    assert attempts == [0, 0, 0]
    assert [record.message for record in caplog.records if "waits" in record.message] == [
        "the controller waits: the database does not answer"
    ]


def test_a_defect_in_the_heartbeat_ends_nothing(store, until, caplog):
    calls, runs = [], []

    def prepare():
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("x")

    with Running(Controller(store, [step("works", runs.append)], config(), prepare=prepare)):
        until(lambda: runs)
    assert any("heartbeat" in record.message for record in caplog.records)


def test_a_step_may_be_left_out(store):
    controller = Controller(store, [step("one", print), step("two", print)], config(skip=["one"]))
    assert [runner.step.name for runner in controller.runners] == ["two"]


def test_a_step_that_there_is_not_cannot_be_left_out(store):
    with pytest.raises(ConfigError, match=r"no step 'drian'; did you mean 'drain'\? \(it has: drain\)"):
        Controller(store, [step("drain", print)], config(skip=["drian"]))


@pytest.mark.slow
def test_a_database_that_stops_and_starts_again_is_survived(postgres_server, postgres, until):
    def count(now):
        store.ping()
        runs.append(now)

    runs = []
    with open_store(postgres) as store:
        store.migrate()
        with Running(Controller(store, [step("works", count, every_s=0.1)], config(lease_s=1.0))):
            until(lambda: runs)
            postgres_server.stop("immediate")
            until(lambda: not runs.clear() and not time.sleep(0.5) and not runs)
            postgres_server.start()
            until(lambda: runs, 60)
