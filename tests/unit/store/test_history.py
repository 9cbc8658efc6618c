"""Tests of experiments, drift runs, retraining and the audit log."""

import threading
from datetime import timedelta

import pytest

from demur.errors import StoreError, UnknownRowError
from demur.store import DriftRunRow, ExperimentEvent, ExperimentRow, RetrainRow


def test_an_experiment_comes_back_as_it_was_added_and_is_not_added_twice(store, noon):
    row = ExperimentRow(name="e", task="refusal", config={"arms": [0.5, 0.5]}, state={"n": 3}, at=noon)
    store.add_experiment(row)
    store.add_experiment(ExperimentRow(id=row.id, name="other", task="refusal"))
    assert store.experiment(row.id) == row
    assert store.experiment("none") is None


def test_experiments_are_listed_from_the_newest(store, noon):
    for number, stage in enumerate(["stopped", "running", "running"]):
        at = noon + timedelta(minutes=number)
        store.add_experiment(ExperimentRow(id=str(number), name="e", task="refusal", stage=stage, at=at))
    assert [row.id for row in store.experiments()] == ["2", "1", "0"]
    assert [row.id for row in store.experiments("refusal", stage="running", limit=1)] == ["2"]
    assert store.experiments("jailbreak") == []


def test_an_experiment_takes_what_is_given_and_keeps_the_rest(store, noon):
    row = ExperimentRow(name="e", task="refusal", state={"n": 1})
    store.add_experiment(row)
    changed = store.update_experiment(row.id, stage="running")
    assert (changed.stage, changed.state, changed.ended_at) == ("running", {"n": 1}, None)
    changed = store.update_experiment(row.id, state={"n": 2}, ended_at=noon)
    assert (changed.stage, changed.state, changed.ended_at) == ("running", {"n": 2}, noon)
    assert store.experiment(row.id) == changed
    assert store.update_experiment(row.id) == changed


def test_of_two_who_decide_at_once_one_wins(store):
    row = ExperimentRow(name="e", task="refusal", stage="running")
    store.add_experiment(row)
    refused, barrier = [], threading.Barrier(2)

    def decide(stage):
        barrier.wait()
        try:
            store.update_experiment(row.id, stage=stage, was="running")
        except StoreError as error:
            refused.append((stage, str(error)))

    threads = [threading.Thread(target=decide, args=(stage,)) for stage in ("promoted", "rolled_back")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    ((lost, said),) = refused
    won = store.experiment(row.id).stage
    assert {lost, won} == {"promoted", "rolled_back"}
    assert f"is '{won}', no longer 'running'" in said


def test_what_is_not_there_cannot_be_changed(store):
    with pytest.raises(UnknownRowError, match="no experiment 'x'"):
        store.update_experiment("x", stage="running")
    with pytest.raises(UnknownRowError, match="no retrain 'x'"):
        store.update_retrain("x", stage="fit")


def test_events_are_an_experiments_own_in_order_of_time(store, noon):
    for number, kind in enumerate(["started", "looked", "looked"]):
        at = noon - timedelta(minutes=number)
        store.add_event(ExperimentEvent(id=str(number), experiment="e", kind=kind, facts={"n": number}, at=at))
    store.add_event(ExperimentEvent(experiment="other", kind="started"))
    assert [row.facts["n"] for row in store.events("e")] == [2, 1, 0]
    assert [row.id for row in store.events("e", kind="started")] == ["0"]


def test_drift_runs_are_listed_from_the_newest(store, noon):
    tests = [{"name": "psi", "statistic": 0.2, "p_value": None, "is_drift": True}]
    for number in range(3):
        at = noon + timedelta(minutes=number)
        row = DriftRunRow(id=str(number), task="refusal", window={"n": 5}, tests=tests, is_drift=True, at=at)
        store.add_drift_run(row)
    assert store.drift_runs(limit=1) == [row]
    assert [one.id for one in store.drift_runs("refusal", until=row.at)] == ["1", "0"]
    assert [one.id for one in store.drift_runs(since=row.at)] == ["2"]


def test_a_retraining_is_followed_to_its_end(store, noon):
    row = RetrainRow(task="refusal", stage="gather", at=noon)
    store.add_retrain(row)
    store.update_retrain(row.id, stage="fit", facts={"rows": 3}, was="gather")
    done = store.update_retrain(row.id, stage="refused", ended_at=noon)
    assert (done.facts, done.ended_at) == ({"rows": 3}, noon)
    assert store.retrain(row.id) == done
    assert store.retrains("refusal", stage="refused") == [done]
    assert store.retrains("refusal", stage="fit") == store.retrains("jailbreak") == []
    with pytest.raises(StoreError, match="no longer 'fit'"):
        store.update_retrain(row.id, stage="ready", was="fit")


def test_the_audit_log_is_read_from_the_newest_line(store):
    first = store.audit("system", "promote", "refusal/v2", {"why": "better"})
    second = store.audit("k1", "stop", "e1")
    assert store.audit_log() == [second, first]
    assert store.audit_log(actor="system") == store.audit_log(act="promote") == [first]
    assert store.audit_log(target="e1", limit=5) == [second]
    assert store.audit_log(since=second.at, until=second.at) == []
