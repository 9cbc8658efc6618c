"""The watch over a task against a real store: references, windows, alarms, restarts."""

from datetime import timedelta

import pytest

from demur.serve.monitor import Alerter, take_reference
from demur.serve.monitor._escalate import Escalator, current_escalation
from demur.serve.monitor._watch import Watch, describe_alarm, error_shares
from demur.store import DriftRunRow, TrafficRow
from demur.tasks import REFUSAL

from .conftest import at


class Told(Alerter):
    """An alerter that keeps what it is told."""

    def __init__(self, store):
        super().__init__(store)
        self.told = []

    def send(self, alert):
        self.told.append(alert)


@pytest.fixture
def watch(store, champion, config):
    """Maker of watches: each is as fresh as after a restart."""

    def make(champion=champion, **changes):
        settings = config(**changes)
        alerter = Told(store)
        return Watch(store, settings, REFUSAL, champion, Escalator(store, settings, alerter, None))

    return make


def state_of(store):
    return store.monitor_state("watch/refusal")


def test_the_first_live_rows_become_the_reference(store, serve_rows, watch):
    serve_rows(200)
    assert watch().step(at(200)) is None
    assert state_of(store)["note"] == "200 of 300 rows of the reference have come"
    serve_rows(150, first=200)
    assert watch().step(at(350)) is None
    (row,) = store.references("refusal", "v1")
    assert (row.source, row.rows) == ("live", 300)
    assert state_of(store)["reference"] == row.id
    assert state_of(store)["cursor"] > at(299).isoformat()


def test_a_window_is_due_after_so_many_new_rows(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    serve_rows(59, first=300)
    assert watch().step(at(359)) is None
    serve_rows(61, first=359)
    run = watch().step(at(420))
    assert (run.window["rows"], run.window["version"]) == (120, "v1")
    assert run.facts["rows"] == {"reference": 300, "window": 120}
    assert watch().step(at(420)) is None


def test_a_window_needs_enough_rows(store, serve_rows, watch):
    serve_rows(345)
    watch().step(at(345))
    assert watch(window={"every": 20}).step(at(345)) is None


def test_a_window_is_due_by_time_with_fewer_rows(store, serve_rows, watch):
    serve_rows(355)
    watch().step(at(355))
    assert watch(window={"max_s": 3600}).step(at(1000)) is None
    run = watch(window={"max_s": 3600}).step(at(5000))
    assert run.window["rows"] == 55


def test_windows_keep_their_distance_in_time(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    serve_rows(120, first=300)
    assert watch(window={"min_gap_s": 600}).step(at(420)) is None
    assert watch(window={"min_gap_s": 600}).step(at(900)) is not None


def test_rows_that_may_still_be_coming_are_left_out(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(310))
    serve_rows(120, first=300)
    assert watch(window={"settle_s": 100}).step(at(420)) is None


def test_unchanged_traffic_leads_to_no_alarm(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    for place in (300, 420, 540):
        serve_rows(120, first=place)
        run = watch().step(at(place + 120))
        assert run.facts["alarm"]["is_alarm"] is False
        assert run.facts["escalation"] is None
    assert state_of(store)["alarm"]["tested"] == 3
    assert len(store.drift_runs("refusal")) == 3


def test_changed_traffic_is_an_alarm_an_alert_and_an_escalation(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    serve_rows(120, first=300, is_changed=True)
    one = watch()
    run = one.step(at(420))
    assert run.is_drift
    assert run.facts["alarm"]["is_alarm"]
    assert {"score_ks", "inputs_mmd"} <= {test["name"] for test in run.tests if test["is_drift"]}
    (alert,) = one.escalator.alerter.told
    assert "differ from the reference" in alert.message
    found = current_escalation(store, "refusal")
    assert (found.cause, run.facts["escalation"]) == (run.id, {"id": found.id})


def test_the_estimate_without_labels_is_in_every_run(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    serve_rows(120, first=300)
    found = watch().step(at(420)).facts["performance"]
    assert found["accuracy"]["low"] < found["accuracy"]["value"] < found["accuracy"]["high"]
    assert "calibrated" in found["assumes"]


def test_an_alarm_that_goes_on_is_told_again_only_after_a_while(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    told = []
    for place in (300, 420, 540):
        serve_rows(120, first=place, is_changed=True)
        one = watch(repeat_s=3600)
        assert one.step(at(place + 120)).facts["alarm"]["is_alarm"]
        told.append(len(one.escalator.alerter.told))
    serve_rows(120, first=660, is_changed=True)
    one = watch(repeat_s=60)
    one.step(at(5000))
    assert (told, len(one.escalator.alerter.told)) == ([1, 0, 0], 1)


def test_killed_before_the_state_was_kept_it_looks_again(store, serve_rows, watch, monkeypatch):
    serve_rows(300)
    watch().step(at(300))
    serve_rows(120, first=300, is_changed=True)

    def die(self, state):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "_save", die)
        with pytest.raises(KeyboardInterrupt):
            watch().step(at(420))
    again = watch().step(at(420))
    (kept,) = store.drift_runs("refusal")
    assert kept.id == again.id
    assert kept.tests == again.tests
    assert state_of(store)["alarm"]["tested"] == 1


def test_another_champion_gets_its_own_reference(store, serve_rows, watch, champion):
    from dataclasses import replace

    serve_rows(300)
    watch().step(at(300))
    other = replace(champion, version="v2")
    assert watch(other).step(at(310)) is None
    assert state_of(store)["version"] == "v2"
    serve_rows(300, first=400, version="v2")
    watch(other).step(at(700))
    assert store.references("refusal", "v2")[0].rows == 300


def test_a_champion_that_comes_back_keeps_its_reference(store, serve_rows, watch, champion):
    from dataclasses import replace

    serve_rows(300)
    watch().step(at(300))
    watch(replace(champion, version="v2")).step(at(310))
    watch().step(at(320))
    assert state_of(store)["reference"] == "live/refusal/v1"
    assert state_of(store)["began_at"] == at(320).isoformat()


def test_a_reference_chosen_meanwhile_is_not_overwritten(store, serve_rows, watch, config):
    serve_rows(300)
    watch().step(at(300))
    stale = watch()._load(at(301))
    serve_rows(120, first=300)
    chosen = take_reference(store, config(), "refusal", at(430), "key1")
    watch()._save(stale)
    assert state_of(store)["reference"] == chosen.id


def test_without_a_saved_reference_and_with_none_wanted_of_live_rows_nothing_is_watched(store, serve_rows, watch):
    serve_rows(400)
    assert watch(reference={"source": "model"}).step(at(400)) is None
    assert "no reference is saved with the model" in state_of(store)["note"]


def test_slow_answers_and_errors_are_told_as_such_and_judged_by_nobody(store, serve_rows, watch):
    serve_rows(300)
    store.add_traffic(
        [TrafficRow(worker="w", seconds=5, requests=5, errors=0, at=at(5 * n)) for n in range(1, 60)]
    )
    watch().step(at(300))
    serve_rows(120, first=300, latency_ms=80.0)
    store.add_traffic(
        [TrafficRow(worker="w", seconds=5, requests=5, errors=2, at=at(300 + 5 * n)) for n in range(1, 24)]
    )
    one = watch()
    run = one.step(at(420))
    assert {test["name"] for test in run.tests if test["is_drift"]} == {"latency", "errors"}
    assert run.facts["operation"]["is_alarm"]
    assert not run.facts["alarm"]["is_alarm"]
    (alert,) = one.escalator.alerter.told
    assert alert.kind == "operation"
    assert current_escalation(store, "refusal") is None


def test_shares_of_errors_leave_out_times_without_requests(store):
    store.add_traffic(
        [
            TrafficRow(worker="w", seconds=5, requests=count, errors=1, at=at(second))
            for second, count in ((0, 4), (5, 0), (10, 2))
        ]
    )
    assert error_shares(store, at(0), at(60)) == [0.25, 0.5]
    assert error_shares(store, at(0), at(60), most=1) == [0.5]


def test_an_alert_names_tests_and_no_texts():
    tests = [
        {"name": "score_ks", "family": "score", "is_drift": True},
        {"name": "latency", "family": "operation", "is_drift": True},
        {"name": "inputs_mmd", "family": "input", "is_drift": False},
    ]
    run = DriftRunRow(
        id="run",
        task="refusal",
        at=at(0),
        window={"rows": 9},
        tests=tests,
        is_drift=True,
        facts={"p_value": 0.001, "operation": {"p_value": 0.002}},
    )
    assert describe_alarm(run, "drift").facts == {"run": "run", "tests": ["score_ks"], "p_value": 0.001}
    assert describe_alarm(run, "operation").facts == {"run": "run", "tests": ["latency"], "p_value": 0.002}
    assert "slower" in describe_alarm(run, "operation").message
    later = DriftRunRow(**{**as_dict(run), "at": at(60)})
    assert describe_alarm(run, "drift").id == describe_alarm(later, "drift").id


def as_dict(row):
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def test_no_escalation_where_none_is_wanted(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    serve_rows(120, first=300, is_changed=True)
    run = watch(escalation={"enabled": False}).step(at(420))
    assert run.facts["alarm"]["is_alarm"]
    assert run.facts["escalation"] is None
    assert current_escalation(store, "refusal") is None


def test_a_reference_that_was_deleted_is_replaced(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    store.purge(at(10**9), tables=["references"])
    serve_rows(120, first=300)
    assert watch().step(at(420)) is None
    assert watch().step(at(421)).window["rows"] == 120
    assert store.references("refusal")[0].rows == 300
    assert state_of(store)["reference"] == "live/refusal/v1"


def test_a_week_of_quiet_is_no_window(store, serve_rows, watch):
    serve_rows(300)
    watch().step(at(300))
    assert watch(window={"max_s": 60}).step(at(300) + timedelta(days=7)) is None
