import json
import subprocess
import sys
import threading

import pytest
from tests.conftest import make_rows
from tests.retraining import answer, clean_environment

from demur.errors import RunError
from demur.serve.retrain import _job
from demur.serve.retrain._job import do, hold


def test_a_step_leaves_its_result(order, store):
    answer(store, make_rows(50, first=1000))
    given = order()
    given.files.write_error("gathering", {"reason": "of before"})
    assert do(given) == 0
    assert given.files.result("gathering")["rows"]["base"] == 240
    assert given.files.error("gathering") is None


def test_what_will_not_help_to_try_again_is_final(order, store):
    given = order()
    assert do(given) == 2
    error = given.files.error("gathering")
    assert "no feedback to learn from" in error["reason"]
    assert error["is_final"]


def test_a_database_that_is_away_is_tried_again_and_not_counted(order, tmp_path):
    from dataclasses import replace

    given = replace(order(), database=f"sqlite:///{tmp_path / 'nowhere' / 'demur.db'}")
    assert do(given) == 1
    error = given.files.error("gathering")
    assert (error["is_final"], error["is_counted"]) == (False, False)


def test_a_defect_is_counted_and_its_words_stay_in_the_log(order, monkeypatch, capsys):
    def fail(order):
        raise ZeroDivisionError("a text of a user")

    monkeypatch.setitem(_job._DO, "gathering", fail)
    given = order()
    assert do(given) == 1
    error = given.files.error("gathering")
    assert "a text of a user" not in json.dumps(error)
    assert error["reason"].startswith("ZeroDivisionError while gathering; see ")
    assert (error["is_final"], error["is_counted"]) == (False, True)
    assert "a text of a user" in capsys.readouterr().err


def test_one_process_works_on_a_retraining(tmp_path, monkeypatch):
    monkeypatch.setattr(_job, "_WAIT_S", 0.2)
    with (
        hold(tmp_path / ".lock"),
        pytest.raises(RunError, match="another process works"),
        hold(tmp_path / ".lock"),
    ):
        pass


def test_a_process_that_is_about_to_end_is_waited_for(tmp_path):
    entered, release = threading.Event(), threading.Event()

    def first():
        with hold(tmp_path / ".lock"):
            entered.set()
            release.wait(20)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(20)
    threading.Timer(0.3, release.set).start()
    with hold(tmp_path / ".lock"):
        assert release.is_set()
    thread.join()


WAITING = """
import threading, time
from demur.serve.retrain._job import die_with_controller
threading.Thread(target=die_with_controller, daemon=True).start()
print("ready", flush=True)
time.sleep(600)
"""


def test_it_ends_with_its_controller(until):
    """Its standard input closes when the controller ends, however it ends."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=clean_environment(),
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(60) == -9


def test_a_step_that_is_done_ends_although_its_controller_lives(order, store, tmp_path):
    answer(store, make_rows(50, first=1000))
    with subprocess.Popen(
        [sys.executable, "-m", "demur.serve.retrain._job"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        start_new_session=True,
        text=True,
    ) as process:
        process.stdin.write(order().to_text() + "\n")
        process.stdin.flush()
        assert process.wait(240) == 0, process.stderr.read()
    assert order().files.result("gathering") is not None
