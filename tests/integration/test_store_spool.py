"""Rows through kill -9: whatever is killed when, every acknowledged row is in the store exactly once."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from demur.errors import StoreUnavailableError
from demur.store import Drainer, PredictionRow, Spool, open_store

TIMEOUT_S = 300

WRITER = """
import sys, threading
from demur.store import PredictionRow, Spool

folder, name, threads, fsync = sys.argv[1:]
spool = Spool(folder, fsync)
lock = threading.Lock()

def write(thread):
    number = 0
    while True:
        id = f"{name}-{thread}-{number}"
        row = PredictionRow(request_id=id, task="t", model="m", version="v", label="x", probabilities={"x": 1.0},
                            threat_score=0.5, prompt="p" * 200)
        spool.put("predictions", [row])
        with lock:  # acknowledged: whoever reads this line may count on the row
            sys.stdout.write(id + "\\n")
            sys.stdout.flush()
        number += 1

for thread in range(int(threads)):
    threading.Thread(target=write, args=(thread,)).start()
"""

DRAINER = """
import os, sys
from demur.errors import StoreUnavailableError
from demur.store import Spool, open_store
from demur.store.spool import _drain

folder, url, die_after = sys.argv[1], sys.argv[2], int(sys.argv[3])
real, calls = _drain.remove_between, 0

def remove(*arguments):
    global calls
    calls += 1
    if die_after and calls >= die_after:  # the rows are in the store and still in the file
        os.kill(os.getpid(), 9)
    real(*arguments)

_drain.remove_between, _drain.BATCH_ROWS = remove, 50
store = open_store(url)
print("ready", flush=True)
while True:
    try:
        Spool(folder).drain(store)
    except StoreUnavailableError:
        pass
"""


@contextmanager
def running(code, *arguments):
    """A process that is killed at the end, if it was not before."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait(TIMEOUT_S)


def kill_after(process, lines):
    """Read so many lines, kill -9, and give every line that was whole."""
    found = [process.stdout.readline().strip() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.wait(TIMEOUT_S)
    return found + rest.split("\n")[:-1]  # a line cut short was not acknowledged


def drain_all(folder, store):
    end = time.monotonic() + TIMEOUT_S
    with Spool(folder) as spool:
        while spool.stats().rows:
            assert time.monotonic() < end, "the spool never ran empty"
            spool.drain(store)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    found = (
        f"sqlite:///{tmp_path / 'demur.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    )
    with open_store(found) as store:
        store.migrate()
    return found


def check(store, acknowledged):
    ids = [row.id for row in store.predictions()]
    requests = {row.request_id for row in store.predictions()}
    assert len(ids) == len(set(ids))
    assert set(acknowledged) - requests == set(), "rows were lost"
    return len(ids)


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
def test_a_writer_killed_at_any_moment_loses_no_acknowledged_row(tmp_path, fsync):
    chance, acknowledged = random.Random(fsync), []
    for number in range(3):
        with running(WRITER, tmp_path / "spool", number, 4, fsync) as writer:
            acknowledged += kill_after(writer, chance.randint(1, 120))
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as store:
        store.migrate()
        drain_all(tmp_path / "spool", store)
        stored = check(store, acknowledged)
    # At most one row a thread was on disk and not yet acknowledged.
    assert len(acknowledged) <= stored <= len(acknowledged) + 3 * 4
    with Spool(tmp_path / "spool") as spool:
        assert spool.stats().files == 0


def test_a_drainer_killed_between_insertion_and_deletion_stores_no_row_twice(tmp_path, url):
    folder = tmp_path / "spool"
    with Spool(folder) as spool:
        rows = [
            PredictionRow(
                request_id=f"r{number}",
                task="t",
                model="m",
                version="v",
                label="x",
                probabilities={},
                threat_score=0,
            )
            for number in range(400)
        ]
        spool.put("predictions", rows)
    for die_after in (1, 3, 2):
        with running(DRAINER, folder, url, die_after) as drainer:
            assert drainer.wait(TIMEOUT_S) == -signal.SIGKILL
    with open_store(url) as store:
        before = store.counts()["predictions"]
        assert before >= 150
        drain_all(folder, store)
        assert check(store, [row.request_id for row in rows]) == 400


@pytest.mark.slow
def test_writers_and_drainers_killed_at_random_while_all_run(tmp_path, url):
    """Two writers and two drainers at a time; every half second one of them is killed and another begins."""
    folder, chance, acknowledged, number = tmp_path / "spool", random.Random(3), [], 0
    with open_store(url) as store, running(DRAINER, folder, url, 0) as steady:
        assert steady.stdout.readline() == "ready\n"
        for _ in range(6):
            with (
                running(WRITER, folder, f"a{number}", 8, "interval") as first,
                running(WRITER, folder, f"b{number}", 8, "always") as second,
                running(DRAINER, folder, url, chance.randint(1, 6)),
            ):
                number += 1
                acknowledged += kill_after(first, chance.randint(1, 400))
                acknowledged += kill_after(second, chance.randint(1, 400))
        steady.kill()
        drain_all(folder, store)
        check(store, acknowledged)
    assert list(folder.glob("*.spool")) == []


def test_a_database_stopped_for_a_while_loses_nothing(tmp_path, postgres, postgres_server):
    """Rows are put all the time; the database crashes in the middle and comes back."""
    put = []
    with open_store(postgres) as store, Spool(tmp_path / "spool") as spool:
        store.migrate()
        drainer = Drainer(spool, store, every_s=0.02, longest_wait_s=0.2)
        drainer.start()

        def add(count):
            for _ in range(count):
                id = f"r{len(put)}"
                row = PredictionRow(
                    request_id=id, task="t", model="m", version="v", label="x", probabilities={}, threat_score=0.5
                )
                spool.put("predictions", [row])
                put.append(id)

        add(100)
        postgres_server.stop("immediate")
        add(100)
        end = time.monotonic() + TIMEOUT_S
        while drainer.last_error is None:
            assert time.monotonic() < end, "the drainer never noticed"
            time.sleep(0.02)
        add(100)
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            store.ping()
        postgres_server.start()
        add(100)
        while spool.stats().rows:
            assert time.monotonic() < end + TIMEOUT_S, "the spool never ran empty"
            time.sleep(0.05)
        assert drainer.stop(60)
        assert check(store, put) == 400


def test_a_killed_process_leaves_its_files_to_the_living_ones(tmp_path):
    """The living process drains them, and clears them away, while it goes on itself."""
    folder = tmp_path / "spool"
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as store, Spool(folder) as spool:
        store.migrate()
        spool.put("predictions", [])
        with running(WRITER, folder, "w", 2, "interval") as writer:
            assert writer.stdout.readline()
            assert spool.stats().files == 1
            spool.drain(store)
            assert spool.stats().files == 1  # of a process that lives
            acknowledged = kill_after(writer, 5)
        spool.drain(store)
        assert spool.stats().files == 0
        assert os.listdir(folder) == []
        check(store, acknowledged)
