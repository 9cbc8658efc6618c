"""Controllers as processes: signals, kill -9, two of them, a database that is away."""

import os
import signal
import time

import pytest

from demur.store import FeedbackRow, Spool, open_store

CONTROL = """
import logging, sys
logging.basicConfig(level="INFO")
from demur.config import parse_settings
from demur.serve import ServeConfig
from demur.serve.control import run_controller
values = {
    "database": {"url": sys.argv[1]},
    "spool": {"folder": sys.argv[2]},
    "control": {"lease_s": 4.0, "interval_s": 0.1, "retention": {"every_s": 0.2}},
}
run_controller(parse_settings(ServeConfig, values), watch_parent="watch" in sys.argv)
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2], sys.argv[3], "watch"])
open(sys.argv[4], "w").write(str(child.pid))
child.wait()
"""


def holder(store):
    """Process id of the controller that holds the lease."""
    from demur.store import utc_now

    held = [one for one in store.leases() if one.expires_at > utc_now()]
    return int(held[0].holder.split("/")[1]) if held else None


def end(process):
    """Send SIGTERM; the seconds until the process has ended as it should."""
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    return time.monotonic() - started


@pytest.fixture
def control(launch, url, tmp_path):
    return lambda: launch(CONTROL, url, tmp_path / "spool")


def test_it_acts_and_ends_within_a_second_of_sigterm(control, store, tmp_path, until, busy_second):
    process = control()
    until(lambda: holder(store) == process.pid)
    with Spool(tmp_path / "spool") as spool:
        spool.put("feedback", [FeedbackRow(request_id="r1", task="refusal", label="no_refusal")])
        until(store.feedback)
    assert end(process) < busy_second()
    assert holder(store) is None


def test_it_migrates_where_the_configuration_says_so(control, url, until):
    control()
    with open_store(url) as store:
        until(lambda: os.path.exists(url.removeprefix("sqlite:///")))
        until(lambda: _answers(store))


def _answers(store):
    from demur.errors import StoreError

    try:
        return store.counts()
    except StoreError:
        return None


def test_another_takes_over_from_one_that_is_killed(control, store, until):
    processes = [control(), control()]
    first = until(lambda: holder(store))
    os.kill(first, signal.SIGKILL)
    (other,) = [process.pid for process in processes if process.pid != first]
    until(lambda: holder(store) == other)


def test_two_controllers_never_hold_the_lease_at_once(control, store, until):
    control()
    control()
    first = until(lambda: holder(store))
    tokens = {(one.holder, one.token) for _ in range(20) for one in store.leases() if time.sleep(0.05) is None}
    assert len(tokens) == 1
    assert holder(store) == first


def test_it_ends_with_its_parent_where_it_was_told_to_watch_it(launch, url, store, tmp_path, until):
    note = tmp_path / "child.txt"
    parent = launch(PARENT, CONTROL, url, tmp_path / "spool", note)
    child = until(lambda: note.exists() and note.read_text() and int(note.read_text()))
    until(lambda: holder(store) == child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until(lambda: holder(store) is None)


@pytest.mark.slow
def test_a_database_that_is_away_at_the_start_and_later_is_waited_for(
    launch, postgres_server, postgres, tmp_path, until, busy_second
):
    postgres_server.stop("immediate")
    process = launch(CONTROL, postgres, tmp_path / "spool")
    with Spool(tmp_path / "spool") as spool, open_store(postgres) as store:
        for number in range(2):
            spool.put("feedback", [FeedbackRow(request_id=f"r{number}", task="refusal", label="no_refusal")])
            time.sleep(1)
            assert process.poll() is None
            postgres_server.start()
            until(lambda number=number: _rows(store) == number + 1)
            postgres_server.stop("immediate")
    assert end(process) < busy_second()


def _rows(store):
    counts = _answers(store)
    return counts["feedback"] if counts else 0
