import os
import time

from tests.conftest import make_rows
from tests.retraining import answer

from demur.serve.retrain._process import StepProcess, environment


def test_it_does_a_step_with_its_order_from_a_pipe(order, store, until):
    answer(store, make_rows(50, first=1000))
    process = StepProcess(order())
    assert until(lambda: process.exit_code is not None)
    assert process.exit_code == 0
    assert order().files.result("gathering")
    process.close()


def test_nobody_sees_the_address_of_the_database(order, store):
    process = StepProcess(order())
    with open(f"/proc/{process._process.pid}/cmdline", "rb") as handle:
        assert b"demur.db" not in handle.read()
    process.kill()


def test_it_is_killed_with_all_that_it_started(order, store):
    started = time.monotonic()
    process = StepProcess(order())
    assert process.exit_code is None
    process.kill()
    assert process.exit_code == -9
    assert 0 < process.seconds <= time.monotonic() - started
    process.kill()


def test_settings_of_the_server_do_not_reach_an_experiment(monkeypatch):
    monkeypatch.setenv("DEMUR_MODELS", "[served]")
    monkeypatch.setenv("DEMUR_CACHE", "here")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "figures")
    found = environment(2)
    assert "DEMUR_MODELS" not in found
    assert "PROMETHEUS_MULTIPROC_DIR" not in found
    assert found["DEMUR_CACHE"] == "here"
    assert found["OMP_NUM_THREADS"] == "2"
    assert found["PATH"] == os.environ["PATH"]
