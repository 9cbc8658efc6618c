"""A store of the controller, waiting with a deadline, and controllers as real processes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from demur.store import open_store

DEADLINE_S = 120


def wait_until(claim, deadline_s=DEADLINE_S):
    """Give what the claim gives once it is true; fail at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        found = claim()
        if found:
            return found
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)


def second():
    """What a second of an idle machine is on this one now: longer by as much as others keep it busy."""
    wall, own = time.monotonic(), time.process_time()
    while time.process_time() - own < 0.05:
        pass
    return max(1.0, (time.monotonic() - wall) / 0.05)


@pytest.fixture
def busy_second():
    """Measures how long a second is on a machine that is busy with other things."""
    return second


@pytest.fixture
def until():
    """Waits until a claim is true: ``until(lambda: ...)``."""
    return wait_until


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request, tmp_path):
    """The address of an empty database of each kind."""
    return (
        f"sqlite:///{tmp_path / 'demur.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    )


@pytest.fixture
def url(tmp_path):
    """The address of a SQLite file."""
    return f"sqlite:///{tmp_path / 'demur.db'}"


@pytest.fixture
def store(url):
    """A migrated store."""
    with open_store(url) as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def launch(tmp_path):
    """Starts Python code in a process of its own; all that still run are killed at the end."""
    running = []

    def start(code, *arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DEMUR_")}
        with (tmp_path / f"stderr-{len(running)}.txt").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *map(str, arguments)],
                cwd=tmp_path,
                env=environment | {"OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
