import os
import subprocess
import sys
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from demur.serve.control import PrometheusMeter
from demur.serve.control._meter import NoMeter


def read(text):
    """Name and step to value."""
    return {
        (sample.name, sample.labels.get("step")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def shown():
    registry = CollectorRegistry()
    meter = PrometheusMeter(registry)
    return meter, lambda: read(generate_latest(registry).decode())


def test_runs_and_failures_are_counted(shown):
    meter, show = shown
    for is_ok in (True, False, True):
        meter.begin("drain")
        meter.end("drain", 0.25, is_ok)
    found = show()
    assert found["demur_control_step_runs_total", "drain"] == 3
    assert found["demur_control_step_failures_total", "drain"] == 1
    assert found["demur_control_step_duration_seconds", "drain"] == 0.25


def test_no_failure_is_a_zero_and_not_nothing(shown):
    meter, show = shown
    meter.begin("drain")
    assert show()["demur_control_step_failures_total", "drain"] == 0


def test_the_time_of_the_last_success_stays_when_a_run_fails(shown):
    meter, show = shown
    meter.begin("drain")
    meter.end("drain", 0.1, True)
    before = show()["demur_control_step_success_timestamp_seconds", "drain"]
    assert before == pytest.approx(time.time(), abs=60)
    meter.begin("drain")
    meter.end("drain", 0.1, False)
    found = show()
    assert found["demur_control_step_success_timestamp_seconds", "drain"] == before
    assert found["demur_control_step_begin_timestamp_seconds", "drain"] >= before


def test_who_acts_is_shown(shown):
    meter, show = shown
    meter.lead(True)
    assert show()["demur_control_leader", None] == 1
    meter.lead(False)
    assert show()["demur_control_leader", None] == 0


def test_nobody_need_listen():
    meter = NoMeter()
    assert meter.lead(True) is meter.begin("x") is meter.end("x", 1.0, True) is None


WRITE = """
import sys
from demur.serve.control import PrometheusMeter
meter = PrometheusMeter()
meter.lead(sys.argv[1] == "1")
meter.begin("drain")
meter.end("drain", float(sys.argv[2]), True)
"""
SHOW = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_other_processes_show_the_figures_of_the_controller_that_was_last(tmp_path):
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(code, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    run(WRITE, "1", "2.5")
    run(WRITE, "0", "0.5")
    found = read(run(SHOW))
    assert found["demur_control_leader", None] == 0
    assert found["demur_control_step_duration_seconds", "drain"] == 0.5
    assert found["demur_control_step_runs_total", "drain"] == 2
