from datetime import timedelta

import pytest
from tests.retraining import NOON, TASK

from demur.config import parse_settings
from demur.serve.experiments import ExperimentConfig, Move, create_experiment, move_experiment
from demur.serve.retrain import RolloutConfig, TaskConfig
from demur.serve.retrain._rollout import look_at_rollout, start_rollout
from demur.serve.retrain._stages import stop_experiment
from demur.store import ModelRow, RetrainRow


@pytest.fixture
def row(store):
    """A retraining whose challenger is registered beside a champion."""
    for version, stage in (("v1", "champion"), ("v2", "challenger")):
        store.register_model(ModelRow(task=TASK, name=version, version=version, folder="x", stage=stage))
    facts = {"threat_labels": ["hard_refusal", "soft_refusal"]}
    row = RetrainRow(id="r1", task=TASK, stage="registering", facts=facts, at=NOON)
    store.add_retrain(row)
    return row


def config(**values):
    return parse_settings(RolloutConfig, values)


def task_config(labels=None, **rollout):
    values = {"experiment": "train.yaml", "golden": "golden.jsonl", "labels": labels or {}, "rollout": rollout}
    return parse_settings(TaskConfig, values)


def started(store, row, **values):
    experiment = start_rollout(store, row, "v2", task_config(**values), NOON)
    return store.update_retrain(row.id, facts={**row.facts, "experiment": experiment.id}), experiment


def test_a_challenger_begins_as_a_shadow(store, row):
    _, experiment = started(store, row, share=0.3)
    assert experiment.stage == "shadow"
    assert store.model(TASK, "v2").stage == "shadow"
    assert store.champion(TASK).version == "v1"
    settings = parse_settings(ExperimentConfig, experiment.config)
    assert settings.weights == {"champion": 0.7, "challenger": 0.3}
    assert settings.threat_labels == ("hard_refusal", "soft_refusal")
    assert settings.promote.rule == "non_inferior"
    assert settings.confirm_moves
    assert len(settings.guards) == 4


def test_only_labels_of_those_who_are_believed_decide(store, row):
    experiment = start_rollout(store, row, "v2", task_config(labels={"sources": ["people"]}), NOON)
    assert parse_settings(ExperimentConfig, experiment.config).sources == ("people",)


def test_guard_rails_can_be_named(store, row):
    _, experiment = started(store, row, guards=[{"metric": "error_rate", "at_most": 0.1}])
    assert len(experiment.config["guards"]) == 1


def test_what_an_earlier_controller_began_is_found_again(store, row):
    _, first = started(store, row)
    _, again = started(store, row)
    assert again.id == first.id
    assert len(store.experiments()) == 1


def test_a_draft_of_a_controller_that_was_killed_is_gone_on_with(store, row):
    values = {"name": "retraining r1", "task": TASK, "challengers": [{"version": "v2"}]}
    draft = create_experiment(store, parse_settings(ExperimentConfig, values), NOON)
    _, experiment = started(store, row)
    assert (experiment.id, experiment.stage) == (draft.id, "shadow")


def test_it_waits_while_another_experiment_of_the_task_goes_on(store, row):
    store.register_model(ModelRow(task=TASK, name="v3", version="v3", folder="x", stage="challenger"))
    values = {"name": "other", "task": TASK, "challengers": [{"version": "v3"}]}
    other = create_experiment(store, parse_settings(ExperimentConfig, values), NOON)
    move_experiment(store, other.id, Move("running"), NOON)
    said = start_rollout(store, row, "v2", task_config(), NOON)
    assert "is running; end it first" in said
    move_experiment(store, other.id, Move("stopped"), NOON)
    assert start_rollout(store, row, "v2", task_config(), NOON).stage == "shadow"


def test_stages_follow_the_experiment(store, row):
    row, experiment = started(store, row)
    assert look_at_rollout(store, row, config(), NOON) == ("shadow", {})
    move_experiment(store, experiment.id, Move("running"), NOON)
    assert look_at_rollout(store, row, config(), NOON) == ("ab", {})
    move_experiment(store, experiment.id, Move("promoted", "k1", "it is better"), NOON)
    assert look_at_rollout(store, row, config(), NOON) == ("promoted", {"reason": "it is better", "by": "k1"})
    assert store.champion(TASK).version == "v2"


def test_a_roll_back_has_its_reason(store, row):
    row, experiment = started(store, row)
    move_experiment(store, experiment.id, Move("rolled_back", reason="a guard rail"), NOON)
    assert look_at_rollout(store, row, config(), NOON) == (
        "rolled_back",
        {"reason": "a guard rail", "by": "system"},
    )
    assert store.champion(TASK).version == "v1"


def test_a_shadow_that_sees_too_little_is_stopped(store, row):
    row, experiment = started(store, row, max_shadow_hours=2)
    later = NOON + timedelta(hours=3)
    assert look_at_rollout(store, row, config(max_shadow_hours=4), later) == ("shadow", {})
    stage, facts = look_at_rollout(store, row, config(max_shadow_hours=2), later)
    assert (stage, facts["reason"]) == ("stopped", "too few rows in 2 hours as a shadow")
    assert store.experiment(experiment.id).stage == "stopped"


def test_an_experiment_that_is_gone_ends_it(store, row):
    from dataclasses import replace

    gone = replace(row, facts={"experiment": "x"})
    assert look_at_rollout(store, gone, config(), NOON)[0] == "stopped"


def test_stopping_ends_what_is_under_way_and_nothing_else(store, row):
    assert not stop_experiment(store, row, NOON)
    _, experiment = started(store, row)
    assert stop_experiment(store, row, NOON)
    assert store.experiment(experiment.id).stage == "stopped"
    assert not stop_experiment(store, row, NOON)
