import os
import signal

import pytest

from demur.config import parse_settings
from demur.serve import ServeConfig
from demur.serve.control import STEPS, make_steps
from demur.store import FeedbackRow

PUT = """
import os, sys, time
from demur.store import FeedbackRow, Spool
spool = Spool(sys.argv[1])
spool.put("feedback", [FeedbackRow(request_id="r1", task="refusal", label="no_refusal")])
open(sys.argv[1] + ".ready", "w").close()
time.sleep(60)
"""


@pytest.fixture
def config(tmp_path):
    def make(**values):
        return parse_settings(ServeConfig, {"spool": {"folder": str(tmp_path / "spool")}} | values)

    return make


def find(config, store, name):
    return next(step for step in make_steps(config, store) if step.name == name)


def test_every_step_bears_the_name_it_is_listed_under(config, store):
    made = [step.name for step in make_steps(config(), store)]
    assert made == [name for name in STEPS if name in made]
    assert {"drain", "retention"} <= set(made)


def test_the_rows_of_a_worker_that_was_killed_are_drained(config, store, launch, until, tmp_path):
    process = launch(PUT, tmp_path / "spool")
    until((tmp_path / "spool.ready").exists)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    step = find(config(), store, "drain")
    assert not step.needs_lease
    step.run(None)
    assert [row.request_id for row in store.feedback()] == ["r1"]


def test_retention_follows_the_configuration(config, store):
    from demur.store import utc_now

    old = utc_now().replace(year=2001)
    store.add_feedback([FeedbackRow(request_id="r1", task="refusal", label="no_refusal", at=old)])
    settings = config(control={"retention": {"records_days": 10, "every_s": 60}})
    step = find(settings, store, "retention")
    assert step.every_s == 60
    step.run(utc_now())
    assert store.feedback() == []
