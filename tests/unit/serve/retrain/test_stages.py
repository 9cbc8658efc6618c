from datetime import timedelta

import pytest
from tests.retraining import NOON, TASK

from demur.config import parse_settings
from demur.errors import StoreError, UnknownRowError
from demur.serve.experiments import ExperimentConfig, Move, create_experiment, move_experiment
from demur.serve.retrain import ENDED, OPEN, open_retrains, request_retrain, stop_retrain
from demur.serve.retrain._stages import find_retrain, move_retrain, rollout_name
from demur.store import ModelRow, RetrainRow


@pytest.fixture
def row(store):
    return request_retrain(store, TASK, "command", NOON, "k1")


def test_a_request_waits_for_the_controller(store, row):
    assert (row.stage, row.task) == ("requested", TASK)
    assert row.facts["cause"] == "command"
    (line,) = store.audit_log(target=row.id)
    assert (line.actor, line.act) == ("k1", "retrain.requested")


def test_a_second_request_is_refused_while_one_is_open(store, row):
    with pytest.raises(
        StoreError, match=f"retraining '{row.id}' of task '{TASK}' is requested; wait for it, or stop"
    ):
        request_retrain(store, TASK, "command", NOON)
    assert request_retrain(store, "jailbreak", "command", NOON).task == "jailbreak"


def test_open_ones_are_those_that_have_not_ended(store):
    for number, stage in enumerate((*OPEN, *ENDED)):
        store.add_retrain(RetrainRow(id=stage, task=TASK, stage=stage, at=NOON - timedelta(minutes=number)))
    assert [row.id for row in open_retrains(store)] == list(reversed(OPEN))


def test_each_move_is_kept_and_in_the_audit_log(store, row):
    moved = move_retrain(store, row, "gathering", NOON + timedelta(minutes=1), {"started_at": "now", "more": [1]})
    assert moved.facts["history"] == [
        ["requested", NOON.isoformat()],
        ["gathering", (NOON + timedelta(minutes=1)).isoformat()],
    ]
    assert moved.facts["cause"] == "command"
    assert moved.ended_at is None
    line = store.audit_log(target=row.id, act="retrain.gathering")[0]
    assert line.facts == {"task": TASK, "from": "requested", "started_at": "now"}


def test_an_end_has_its_time(store, row):
    assert move_retrain(store, row, "failed", NOON, {"reason": "r"}).ended_at == NOON


def test_whoever_comes_second_changes_nothing(store, row):
    move_retrain(store, row, "gathering", NOON)
    with pytest.raises(StoreError, match="is no longer requested"):
        move_retrain(store, row, "failed", NOON)
    assert find_retrain(store, row.id).stage == "gathering"


def test_it_can_be_stopped_at_every_stage(store):
    for stage in OPEN:
        store.add_retrain(RetrainRow(id=stage, task=TASK, stage=stage, at=NOON))
        stopped = stop_retrain(store, stage, NOON, "k1", "no need")
        assert (stopped.stage, stopped.ended_at) == ("stopped", NOON)
        assert stopped.facts["reason"] == "stopped by k1: no need"
        assert store.audit_log(target=stage)[0].facts == {"task": TASK, "from": stage, "reason": "no need"}
    assert open_retrains(store) == []


def test_what_has_ended_cannot_be_stopped(store, row):
    stop_retrain(store, row.id, NOON)
    with pytest.raises(StoreError, match="is stopped already"):
        stop_retrain(store, row.id, NOON)


def test_what_is_not_there_cannot_be_stopped(store):
    with pytest.raises(UnknownRowError, match="no retraining 'x'"):
        stop_retrain(store, "x", NOON)


@pytest.fixture
def tried(store, row):
    """A retraining whose challenger answers in an A/B test, and the id of that test."""
    for version, stage in (("v1", "champion"), ("v2", "challenger")):
        store.register_model(ModelRow(task=TASK, name="m", version=version, folder="x", stage=stage, at=NOON))
    values = {"name": rollout_name(row), "task": TASK, "challengers": [{"version": "v2"}]}
    experiment = create_experiment(store, parse_settings(ExperimentConfig, values), NOON)
    move_experiment(store, experiment.id, Move("running"), NOON)
    store.update_retrain(row.id, stage="ab", facts={"experiment": experiment.id})
    return row, experiment.id


def test_a_stop_stops_the_test_of_its_challenger(store, tried):
    row, experiment = tried
    assert stop_retrain(store, row.id, NOON).stage == "stopped"
    assert store.experiment(experiment).stage == "stopped"


def test_what_was_promoted_is_not_said_to_be_stopped(store, tried):
    """The controller has not yet seen that the experiment promoted it."""
    row, experiment = tried
    move_experiment(store, experiment, Move("promoted"), NOON)
    with pytest.raises(StoreError, match=f"was promoted already.* /admin/experiments/{experiment}/rollback"):
        stop_retrain(store, row.id, NOON)
    assert find_retrain(store, row.id).stage == "ab"
    assert store.champion(TASK).version == "v2"
