"""The state machine: results of steps are put where their processes would leave them."""

import json
import logging
import os
import signal
import threading
from datetime import timedelta

import pytest
from tests.retraining import NOON, TASK

from demur.config import parse_settings
from demur.errors import StoreUnavailableError
from demur.serve.experiments import Move, move_experiment, step
from demur.serve.retrain import RetrainConfig, Retrainer, Served, open_retrains, request_retrain, stop_retrain
from demur.serve.retrain._folder import Spent
from demur.store import ModelRow, RetrainRow, open_store

HOUR = timedelta(hours=1)
GATHERED = {"golden_sha256": "f" * 64, "hashes": {}, "rows": {"train": 10}}
TRAINED = {"model": "m", "folder": "somewhere"}


def compared(champion="v1", challenger="v2", reasons=()):
    score = {"custom_score": {"a": 0.9, "b": 0.8}}
    return {
        "champion": champion,
        "challenger": {"version": challenger, "name": "new", "folder": "somewhere"},
        "threat_labels": ["hard_refusal"],
        "gate": {"is_accepted": not reasons, "reasons": list(reasons), "pairs": {"golden": {"metrics": score}}},
    }


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(store, url, world, tmp_path, told):
    """Maker of a retrainer, with processes that wait for nothing they could do: the experiment is not there."""
    store.register_model(ModelRow(task=TASK, name="old", version="v1", folder="x", stage="champion", at=NOON))
    made = []

    def make_retrainer(**changes):
        config = parse_settings(RetrainConfig, world.config(tmp_path / "retrain", **changes))
        made.append(Retrainer(store, config, Served(url), lambda kind, facts: told.append((kind, facts))))
        return made[-1]

    yield make_retrainer
    for one in made:
        one.close()


@pytest.fixture
def idle(make, monkeypatch):
    """A retrainer that starts no process, so that each step is told its result."""
    retrainer = make()
    monkeypatch.setattr(retrainer, "_start", lambda *given: None)
    return retrainer


def folder(retrainer, row):
    return retrainer._folder(row)


def stage(store, row):
    return store.retrain(row.id).stage


def bring(retrainer, store, row, to):
    """Bring a retraining to a stage by the results of the steps before it."""
    steps = {"gathering": GATHERED, "training": TRAINED, "comparing": compared()}
    for _ in range(8):
        now = stage(store, row)
        if now == to:
            return store.retrain(row.id)
        if now in steps:
            folder(retrainer, row).write_result(now, steps[now])
        retrainer.step(NOON)
    raise AssertionError(f"it is {stage(store, row)} and not {to}")


@pytest.fixture
def row(store):
    return request_retrain(store, TASK, "command", NOON)


def test_it_goes_from_stage_to_stage_by_results(idle, store, row):
    bring(idle, store, row, "shadow")
    assert [one for one, _ in store.retrain(row.id).facts["history"]] == [
        "requested",
        "gathering",
        "training",
        "comparing",
        "registering",
        "shadow",
    ]
    acts = [line.act for line in store.audit_log(target=row.id)]
    assert sorted(acts) == sorted(f"retrain.{one}" for one, _ in store.retrain(row.id).facts["history"])


def test_the_champion_stays_until_the_challenger_is_promoted(idle, store, row, told):
    found = bring(idle, store, row, "shadow")
    assert store.champion(TASK).version == "v1"
    model = store.model(TASK, "v2")
    assert (model.stage, model.parent) == ("shadow", "v1")
    assert model.metrics["custom_score"] == 0.9
    move_experiment(store, found.facts["experiment"], Move("running"), NOON)
    idle.step(NOON)
    assert stage(store, row) == "ab"
    move_experiment(store, found.facts["experiment"], Move("promoted", reason="better"), NOON)
    idle.step(NOON + HOUR)
    ended = store.retrain(row.id)
    assert (ended.stage, ended.ended_at, ended.facts["reason"]) == ("promoted", NOON + HOUR, "better")
    assert store.champion(TASK).version == "v2"
    assert told == [("retrain.promoted", {"retraining": row.id, "task": TASK, "reason": "better"})]


def test_a_refused_challenger_is_registered_as_rejected_and_tried_nowhere(idle, store, row, told):
    bring(idle, store, row, "comparing")
    folder(idle, row).write_result("comparing", compared(reasons=["it is worse", "everywhere"]))
    idle.step(NOON)
    ended = store.retrain(row.id)
    assert (ended.stage, ended.facts["reason"]) == ("rejected", "it is worse; everywhere")
    assert store.model(TASK, "v2").stage == "rejected"
    assert store.experiments() == []
    assert store.champion(TASK).version == "v1"
    assert told[0][0] == "retrain.rejected"


def test_a_challenger_that_is_the_champion_itself_is_none(idle, store, row):
    bring(idle, store, row, "comparing")
    folder(idle, row).write_result("comparing", compared(challenger="v1"))
    idle.step(NOON)
    assert store.retrain(row.id).facts["reason"].startswith("it is the champion itself")
    assert store.champion(TASK).version == "v1"


@pytest.mark.parametrize("at", ["comparing", "registering"])
def test_another_champion_meanwhile_is_compared_with_anew(idle, store, row, at):
    bring(idle, store, row, at)
    folder(idle, row).write_result("comparing", compared())
    store.register_model(ModelRow(task=TASK, name="third", version="v3", folder="x", stage="champion"))
    idle.step(NOON)
    assert stage(store, row) == "comparing"
    assert folder(idle, row).result("comparing") is None
    assert store.champion(TASK).version == "v3"


def test_another_champion_while_it_is_tried_ends_it(idle, store, row):
    found = bring(idle, store, row, "shadow")
    store.register_model(ModelRow(task=TASK, name="third", version="v3", folder="x", stage="champion"))
    step(store, NOON)
    idle.step(NOON)
    assert store.experiment(found.facts["experiment"]).stage == "stopped"
    ended = store.retrain(row.id)
    assert ended.stage == "stopped"
    assert "is another since the experiment began" in ended.facts["reason"]
    assert store.champion(TASK).version == "v3"


def test_a_verdict_that_changed_changes_the_registry(idle, store, row):
    bring(idle, store, row, "registering")
    assert store.model(TASK, "v2").stage == "challenger"
    store.register_model(ModelRow(task=TASK, name="third", version="v3", folder="x", stage="champion"))
    idle.step(NOON)
    folder(idle, row).write_result("comparing", compared(champion="v3", reasons=["worse than that"]))
    idle.step(NOON)
    assert store.model(TASK, "v2").stage == "rejected"


# Beginning


def test_one_at_a_time_and_requests_of_meanwhile_are_merged(idle, store, row):
    idle.step(NOON)
    store.add_retrain(
        RetrainRow(id="drift-1", task=TASK, stage="requested", facts={"cause": "drift"}, at=NOON + HOUR)
    )
    idle.step(NOON + HOUR)
    merged = store.retrain("drift-1")
    assert (merged.stage, merged.facts["reason"]) == ("merged", f"retraining {row.id} is under way")
    assert stage(store, row) == "gathering"


def test_two_requests_at_once_become_one(idle, store):
    for name in ("drift-1", "drift-2"):
        store.add_retrain(RetrainRow(id=name, task=TASK, stage="requested", facts={"cause": "drift"}, at=NOON))
    idle.step(NOON)
    assert sorted(store.retrain(name).stage for name in ("drift-1", "drift-2")) == ["gathering", "merged"]


def ended(store, number, hours):
    at = NOON - timedelta(hours=hours)
    facts = {"started_at": at.isoformat()}
    store.add_retrain(
        RetrainRow(id=f"e{number}", task=TASK, stage="rejected", facts=facts, at=at, ended_at=at + HOUR)
    )


def test_it_waits_for_the_cool_down(make, store, monkeypatch):
    retrainer = make(cool_down_hours=5)
    monkeypatch.setattr(retrainer, "_start", lambda *given: None)
    ended(store, 1, hours=2)
    row = request_retrain(store, TASK, "drift", NOON)
    retrainer.step(NOON)
    assert stage(store, row) == "requested"
    retrainer.step(NOON + 4 * HOUR)
    assert stage(store, row) == "gathering"


def test_who_is_urgent_does_not_wait_for_it(make, store, monkeypatch):
    retrainer = make(cool_down_hours=5)
    monkeypatch.setattr(retrainer, "_start", lambda *given: None)
    ended(store, 1, hours=2)
    row = request_retrain(store, TASK, "command", NOON, is_urgent=True)
    retrainer.step(NOON)
    assert stage(store, row) == "gathering"


def test_no_more_begin_in_a_day_than_may(make, store, monkeypatch):
    retrainer = make(max_per_day=2)
    monkeypatch.setattr(retrainer, "_start", lambda *given: None)
    for number, hours in enumerate((20, 10)):
        ended(store, number, hours)
    row = request_retrain(store, TASK, "command", NOON, is_urgent=True)
    retrainer.step(NOON)
    assert stage(store, row) == "requested"
    retrainer.step(NOON + 4 * HOUR)
    assert stage(store, row) == "gathering"


def test_a_task_that_is_not_configured_fails_with_what_to_do(idle, store):
    row = request_retrain(store, "jailbreak", "drift", NOON)
    idle.step(NOON)
    assert store.retrain(row.id).stage == "failed"
    assert "no retraining of task 'jailbreak'; add it" in store.retrain(row.id).facts["reason"]


def test_without_a_champion_there_is_nothing_to_compare_with(idle, store, row):
    store.set_stage(TASK, "v1", "retired")
    idle.step(NOON)
    assert "no champion to compare with" in store.retrain(row.id).facts["reason"]


def test_by_schedule_it_is_asked_for_once(make, store, monkeypatch):
    retrainer = make(every_days=7)
    monkeypatch.setattr(retrainer, "_start", lambda *given: None)
    retrainer.step(NOON + timedelta(days=6))
    assert store.retrains() == []
    for hours in (0, 1):
        retrainer.step(NOON + timedelta(days=8, hours=hours))
    (row,) = store.retrains()
    assert (row.stage, row.facts["cause"]) == ("gathering", "schedule")


# Processes


def test_a_process_that_fails_for_good_ends_it(make, store, row, until):
    """No row has feedback."""
    retrainer = make()

    def failed():
        retrainer.step(NOON)
        return stage(store, row) == "failed"

    until(failed)
    facts = store.retrain(row.id).facts
    assert "no feedback to learn from" in facts["reason"]
    assert facts["failed_while"] == "gathering"
    assert not folder(retrainer, row).data.exists()


def test_a_process_that_crashes_is_tried_again_a_few_times(make, store, row, until, caplog):
    retrainer = make(attempts=2)

    def killed():
        retrainer.step(NOON)
        if retrainer._process is not None and retrainer._process.exit_code is None:
            os.killpg(retrainer._process._process.pid, signal.SIGKILL)
            retrainer._process._process.wait()
        return stage(store, row) == "failed"

    until(killed)
    reason = store.retrain(row.id).facts["reason"]
    assert reason == "the process of gathering ended with -9 (-9: killed, often for want of memory); tried 2 times"
    assert "attempt 1" in caplog.text


def test_a_process_that_takes_too_long_is_killed(make, store, row, until):
    retrainer = make(max_hours=1e-9)

    def failed():
        retrainer.step(NOON)
        return stage(store, row) == "failed"

    until(failed)
    assert retrainer._process is None
    assert "gathering took longer than 1e-09 hours" in store.retrain(row.id).facts["reason"]


def lose_controller(retrainer):
    """End a controller and its process as a killed container does."""
    os.killpg(retrainer._process._process.pid, signal.SIGKILL)
    retrainer._process._process.wait()
    retrainer._process.close()
    retrainer._process = None


def test_a_process_that_kills_its_controller_is_not_begun_for_ever(make, store, row):
    begun = 0
    for _ in range(5):
        retrainer = make(attempts=2)
        for _ in range(2):
            retrainer.step(NOON)
        if retrainer._process is not None:
            begun += 1
            lose_controller(retrainer)
    assert (begun, stage(store, row)) == (2, "failed")
    assert "gathering and its controller were killed" in store.retrain(row.id).facts["reason"]
    assert store.retrain(row.id).facts["reason"].endswith("tried 2 times")


@pytest.mark.parametrize("how", ["pause", "close"])
def test_a_controller_that_ends_or_yields_costs_no_attempt(make, store, row, how):
    for _ in range(4):
        retrainer = make(attempts=2)
        for _ in range(2):
            retrainer.step(NOON)
        assert retrainer._process is not None
        getattr(retrainer, how)()
    assert stage(store, row) == "gathering"
    spent = folder(retrainer, row).spent("gathering")
    assert spent.begun == 0
    assert spent.seconds > 0


def test_time_of_earlier_controllers_counts(make, store, row):
    retrainer = make(max_hours=2)
    bring(retrainer, store, row, "gathering")
    folder(retrainer, row).write_spent("gathering", Spent(1, 2 * 3600.0))
    for _ in range(2):
        retrainer.step(NOON)
    assert "gathering took longer than 2 hours" in store.retrain(row.id).facts["reason"]


class Waiting:
    """A store that does not answer for the champion until it may."""

    def __init__(self, store):
        self.store, self.is_asked, self.may_answer = store, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self.store, name)

    def champion(self, task):
        self.is_asked.set()
        assert self.may_answer.wait(30)
        return self.store.champion(task)


def test_a_step_under_way_begins_no_process_after_a_pause(make, store, row):
    retrainer = make()
    bring(retrainer, store, row, "gathering")
    retrainer.pause()
    retrainer.store = Waiting(store)
    thread = threading.Thread(target=retrainer.step, args=(NOON,))
    thread.start()
    assert retrainer.store.is_asked.wait(30)
    retrainer.pause()
    retrainer.store.may_answer.set()
    thread.join()
    assert retrainer._process is None
    retrainer.step(NOON)
    assert retrainer._process is not None


@pytest.mark.parametrize("how", ["pause", "close", "stop"])
def test_no_process_outlives_its_reason(make, store, row, how):
    retrainer = make()
    retrainer.step(NOON)
    retrainer.step(NOON)
    process = retrainer._process
    assert process.exit_code is None
    if how == "stop":
        stop_retrain(store, row.id, NOON)
        retrainer.step(NOON)
    else:
        getattr(retrainer, how)()
    assert process.exit_code == -9
    assert retrainer._process is None
    if how == "close":
        retrainer.step(NOON)
        assert retrainer._process is None


def test_tasks_have_their_processes_one_after_the_other(make, store, world, row):
    retrainer = make()
    settings = retrainer.config.tasks[TASK]
    retrainer.config = retrainer.config.model_copy(update={"tasks": {TASK: settings, "jailbreak": settings}})
    store.register_model(ModelRow(task="jailbreak", name="old", version="v1", folder="x", stage="champion"))
    other = request_retrain(store, "jailbreak", "command", NOON + HOUR)
    for _ in range(3):
        retrainer.step(NOON)
    assert stage(store, other) == "gathering"
    assert retrainer._process.order.id == row.id


# Stops and what they leave


@pytest.mark.parametrize("at", ["gathering", "training", "comparing", "registering", "shadow", "ab"])
def test_stopped_anywhere_the_champion_stays_and_nothing_is_left(idle, store, row, at):
    found = bring(idle, store, row, "shadow" if at == "ab" else at)
    if at == "ab":
        move_experiment(store, found.facts["experiment"], Move("running"), NOON)
        idle.step(NOON)
    folder(idle, row).train.parent.mkdir(parents=True, exist_ok=True)
    folder(idle, row).train.write_text("texts")
    stop_retrain(store, row.id, NOON, "k1")
    idle.step(NOON + HOUR)
    assert stage(store, row) == "stopped"
    assert store.champion(TASK).version == "v1"
    assert all(one.stage == "stopped" for one in store.experiments())
    assert not folder(idle, row).data.exists()
    assert open_retrains(store) == []


def test_an_experiment_of_a_stop_that_was_cut_short_is_stopped_later(idle, store, row):
    found = bring(idle, store, row, "shadow")
    store.update_retrain(row.id, stage="stopped", ended_at=NOON)
    idle.step(NOON + HOUR)
    assert store.experiment(found.facts["experiment"]).stage == "stopped"


@pytest.mark.parametrize("at", ["shadow", "ab"])
def test_a_retraining_that_failed_promotes_nothing(idle, store, row, at):
    """Its task was taken out of the configuration while its challenger was tried."""
    found = bring(idle, store, row, "shadow")
    if at == "ab":
        move_experiment(store, found.facts["experiment"], Move("running"), NOON)
        idle.step(NOON)
    idle.config = idle.config.model_copy(update={"tasks": {}})
    idle.step(NOON)
    assert stage(store, row) == "failed"
    assert store.experiment(found.facts["experiment"]).stage == "stopped"


def test_one_that_was_promoted_before_it_failed_is_promoted(idle, store, row):
    found = bring(idle, store, row, "shadow")
    move_experiment(store, found.facts["experiment"], Move("promoted"), NOON)
    idle.config = idle.config.model_copy(update={"tasks": {}})
    idle.step(NOON)
    assert stage(store, row) == "promoted"
    assert store.champion(TASK).version == "v2"


def test_an_experiment_of_a_failure_that_was_cut_short_is_stopped_later(idle, store, row):
    found = bring(idle, store, row, "shadow")
    store.update_retrain(row.id, stage="failed", ended_at=NOON)
    idle.step(NOON + HOUR)
    assert store.experiment(found.facts["experiment"]).stage == "stopped"


def test_texts_stay_where_they_are_to_be_kept(make, store, row, monkeypatch):
    retrainer = make(keep_data=True)
    monkeypatch.setattr(retrainer, "_start", lambda *given: None)
    bring(retrainer, store, row, "comparing")
    folder(retrainer, row).train.parent.mkdir(parents=True)
    folder(retrainer, row).train.write_text("texts")
    stop_retrain(store, row.id, NOON)
    retrainer.step(NOON + HOUR)
    assert folder(retrainer, row).train.exists()


def test_it_waits_for_another_experiment_and_says_so(idle, store, row):
    from demur.serve.experiments import ExperimentConfig, create_experiment

    store.register_model(ModelRow(task=TASK, name="third", version="v3", folder="x", stage="challenger"))
    values = {"name": "other", "task": TASK, "challengers": [{"version": "v3"}]}
    other = create_experiment(store, parse_settings(ExperimentConfig, values), NOON)
    move_experiment(store, other.id, Move("running"), NOON)
    bring(idle, store, row, "registering")
    for _ in range(2):
        idle.step(NOON)
    assert "end it first" in store.retrain(row.id).facts["waits_for"]
    move_experiment(store, other.id, Move("stopped"), NOON)
    idle.step(NOON)
    assert stage(store, row) == "shadow"
    assert store.retrain(row.id).facts["waits_for"] is None


def test_a_new_controller_goes_on_in_the_same_stage(make, store, row, monkeypatch):
    for at in ("gathering", "training", "comparing", "registering", "shadow"):
        retrainer = make()
        monkeypatch.setattr(retrainer, "_start", lambda *given: None)
        bring(retrainer, store, row, at)
    history = [one for one, _ in store.retrain(row.id).facts["history"]]
    assert history == ["requested", "gathering", "training", "comparing", "registering", "shadow"]


def test_names_of_folders_are_harmless(idle):
    for id in ("../../x", "a/b", "drift-0123"):
        root = folder(idle, RetrainRow(id=id, task=TASK, stage="requested")).root
        assert root.parent.name == "runs"


def test_facts_are_plain_values(idle, store, row):
    bring(idle, store, row, "shadow")
    assert json.loads(json.dumps(store.retrain(row.id).facts)) == store.retrain(row.id).facts


def test_a_database_that_is_away_ends_the_step_and_not_the_retraining(make, tmp_path, world, url):
    with open_store(f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}") as gone:
        config = parse_settings(RetrainConfig, world.config(tmp_path / "retrain"))
        with pytest.raises(StoreUnavailableError, match="cannot be opened"):
            Retrainer(gone, config, Served(url)).step(NOON)


def test_without_a_listener_ends_are_logged(store, url, world, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    config = parse_settings(RetrainConfig, world.config(tmp_path / "retrain"))
    row = request_retrain(store, TASK, "command", NOON)
    Retrainer(store, config, Served(url)).step(NOON)
    assert f"retrain.failed: task {TASK}, retraining {row.id}: task '{TASK}' has no champion" in caplog.text
