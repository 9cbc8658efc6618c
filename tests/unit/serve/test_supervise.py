"""The supervisor with children that do as a worker does and load no model; real ones: tests/integration."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from demur.errors import ServeError
from demur.serve import Supervisor, load_serve
from demur.serve._start import Ground, listen
from demur.serve.secrets import Secrets

SECONDS = 60
STAYS = """
import json, os, signal, sys, time
place = json.loads(sys.stdin.read())
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
print(json.dumps({"event": "ready"}), flush=True)
print("a library says hello", flush=True)
with open(os.path.join(sys.argv[1], f"{place['role']}-{place['number']}-{os.getpid()}"), "w") as file:
    json.dump({"pid": os.getpid(), "metrics": os.environ["PROMETHEUS_MULTIPROC_DIR"]}, file)
while True:
    time.sleep(0.05)
"""
FAILS = """
import json, sys
place = json.loads(sys.stdin.read())
print(json.dumps({"event": "failed", "message": "the model is damaged", "code": 1}), flush=True)
sys.exit(1)
"""
DIES = "import sys; sys.stdin.read(); sys.exit(7)"


@pytest.fixture
def supervise(tmp_path, monkeypatch):
    """Runs a supervisor in a thread, with children of a given code, and ends it."""
    popen, running = subprocess.Popen, []
    (tmp_path / "children").mkdir()

    def start(code, workers=2):
        def run_other(arguments, **rest):
            assert arguments[1:] == ["-m", "demur.serve._worker"]
            return popen([sys.executable, "-S", "-c", code, str(tmp_path / "children")], **rest)

        monkeypatch.setattr(subprocess, "Popen", run_other)
        # Signals reach the main thread alone; here they are put in as the handler would.
        monkeypatch.setattr(signal, "signal", lambda number, handler: handler)
        values = {
            "workers": workers,
            "database": {"url": f"sqlite:///{tmp_path / 'guard.db'}"},
            "spool": {"folder": str(tmp_path / "spool")},
            "records": "off",
            "drain_wait_s": 0,
        }
        lines, errors = [], []
        listener = listen("127.0.0.1", 0)
        supervisor = Supervisor(
            load_serve(None, values), Secrets(), Ground((), True, True), lines.append, listener
        )

        def run():
            try:
                supervisor.run()
            except ServeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        running.append((supervisor, thread, listener))
        return supervisor, thread, lines, errors

    yield start
    for supervisor, thread, listener in running:
        put(supervisor, signal.SIGTERM)
        thread.join(SECONDS)
        assert not thread.is_alive()
        listener.close()


def put(supervisor, number):
    from demur.serve._supervise import Event

    supervisor._events.put(Event("signal", number=number))


def children(tmp_path):
    """The children that have begun: role and number to process, the newest of each."""
    found = {}
    for path in sorted((tmp_path / "children").iterdir(), key=lambda one: one.stat().st_mtime_ns):
        text = path.read_text()
        if text:
            role, number, _ = path.name.split("-")
            found[(role, int(number))] = json.loads(text)["pid"]
    return found


def wait_for(check, what="it"):
    until = time.monotonic() + SECONDS
    while not check():
        assert time.monotonic() < until, f"{what} did not happen"
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_workers_and_a_controller_begin_and_end_together(supervise, tmp_path):
    supervisor, thread, lines, errors = supervise(STAYS)
    wait_for(lambda: len(children(tmp_path)) == 3)
    wait_for(lambda: any(line.startswith("ready") for line in lines))
    assert set(children(tmp_path)) == {("worker", 0), ("worker", 1), ("controller", 2)}
    assert lines[0].startswith("http://127.0.0.1:")
    folder = supervisor._folder
    put(supervisor, signal.SIGTERM)
    thread.join(SECONDS)
    assert not any(map(is_alive, children(tmp_path).values()))
    assert not folder.exists()
    assert errors == []


def test_a_worker_that_was_killed_is_back(supervise, tmp_path):
    supervisor, *_ = supervise(STAYS)
    wait_for(lambda: len(children(tmp_path)) == 3)
    before = children(tmp_path)
    (supervisor._folder / "metrics" / "gauge_livesum_1.db").write_bytes(b"")
    os.kill(before[("worker", 1)], signal.SIGKILL)
    wait_for(lambda: children(tmp_path)[("worker", 1)] != before[("worker", 1)])
    assert children(tmp_path)[("worker", 0)] == before[("worker", 0)]
    assert not (supervisor._folder / "metrics" / "gauge_livesum_1.db").exists()


def test_the_controller_is_back_too(supervise, tmp_path):
    supervise(STAYS)
    wait_for(lambda: len(children(tmp_path)) == 3)
    before = children(tmp_path)[("controller", 2)]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: children(tmp_path)[("controller", 2)] != before)


def test_workers_are_restarted_one_after_the_other_and_the_controller(supervise, tmp_path):
    supervisor, *_ = supervise(STAYS)
    wait_for(lambda: len(children(tmp_path)) == 3)
    before = children(tmp_path)
    wait_for(lambda: all(one.is_ready for one in list(supervisor._children.values())))
    put(supervisor, signal.SIGHUP)
    wait_for(
        lambda: all(children(tmp_path)[("worker", number)] != before[("worker", number)] for number in (0, 1))
    )
    wait_for(lambda: children(tmp_path)[("controller", 2)] != before[("controller", 2)])


def test_a_server_whose_worker_cannot_begin_ends_with_its_words(supervise):
    _, thread, _, errors = supervise(FAILS, workers=1)
    thread.join(SECONDS)
    assert errors == ["the model is damaged"]


def test_a_server_whose_workers_die_without_a_word_ends(supervise):
    _, thread, _, errors = supervise(DIES, workers=1)
    thread.join(SECONDS)
    assert len(errors) == 1
    assert "ended 3 times before it was ready, the last time with 7" in errors[0]


def test_the_secret_that_signs_is_that_of_the_configuration_or_one_kept_beside_the_spool(tmp_path):
    def signing(**values):
        spool = {"spool": {"folder": str(tmp_path / "spool")}}
        with listen("127.0.0.1", 0) as listener:
            config = load_serve(None, spool | values)
            return Supervisor(config, Secrets(), Ground((), True, True), print, listener)._signing()

    assert signing(secret="a secret of our own") == ("a secret of our own",)
    assert signing() == signing()
    assert signing() == ((tmp_path / "spool" / "secret.key").read_text(),)
