import logging
import threading

import pytest

from demur.errors import StoreUnavailableError
from demur.serve.control._meter import NoMeter
from demur.serve.control._runner import StepRunner
from demur.serve.control._step import Step


class Notes(NoMeter):
    """Keeps what it is told."""

    def __init__(self):
        self.ended = []

    def end(self, step, seconds, is_ok):
        self.ended.append((step, is_ok))


@pytest.fixture
def stopping():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def make(stopping):
    def make_runner(run, is_leader=lambda: True, **values):
        step = Step(name="one", run=run, **({"every_s": 0.01} | values))
        return StepRunner(step, is_leader, Notes(), stopping)

    return make_runner


def test_a_step_is_told_the_time_in_utc(make):
    told = []
    assert make(told.append).run_once()
    assert told[0].utcoffset().total_seconds() == 0


def fail(error):
    def run(now):
        raise error

    return run


@pytest.mark.parametrize("error", [ValueError("a text of a user"), SystemExit(3), StoreUnavailableError("down")])
def test_whatever_a_step_raises_is_counted(make, error, caplog):
    runner = make(fail(error))
    assert not runner.run_once()
    assert not runner.run_once()
    assert runner.failures == 2
    assert runner._meter.ended == [("one", False)] * 2


def test_the_same_failure_is_logged_once_and_its_end_too(make, caplog):
    caplog.set_level(logging.INFO)
    ways = iter([StoreUnavailableError("down")] * 3 + [None])

    def run(now):
        way = next(ways)
        if way:
            raise way

    runner = make(run)
    for _ in range(4):
        runner.run_once()
    assert [record.message for record in caplog.records] == [
        "step one: down",
        "step one works again, after 3 runs that failed",
    ]


def test_a_defect_is_logged_with_its_traceback(make, caplog):
    make(fail(KeyError("x"))).run_once()
    assert caplog.records[0].exc_info is not None


def test_failures_make_the_wait_longer_up_to_a_bound(make):
    runner = make(fail(StoreUnavailableError("down")), every_s=1.0)
    assert runner._wait_s() == 1.0
    waits = []
    for _ in range(8):
        runner.run_once()
        waits.append(runner._wait_s())
    assert waits[0] <= 2.0
    assert 10 < waits[-1] <= 15


def test_a_rare_step_is_not_repeated_more_often_for_failing(make):
    runner = make(fail(StoreUnavailableError("down")), every_s=3600)
    runner.run_once()
    assert runner._wait_s() > 2000


def test_without_the_lease_it_waits_until_there_is_one(make, until):
    leads = threading.Event()
    runs = []
    runner = make(runs.append, is_leader=leads.is_set)
    runner.start()
    assert not runner.join(0.4)
    assert runs == []
    leads.set()
    until(lambda: len(runs) > 2)


def test_work_of_the_own_host_needs_no_lease(make, until):
    runs = []
    make(runs.append, is_leader=lambda: False, needs_lease=False).start()
    until(lambda: runs)


def test_it_ends_when_it_is_told(make, stopping, until):
    runs = []
    runner = make(runs.append, every_s=3600)
    runner.start()
    until(lambda: runs)
    stopping.set()
    assert runner.join(5)
