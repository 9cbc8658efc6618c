import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import StoreError, UnknownRowError, UsageError
from demur.serve.experiments import Move, create_experiment, move_experiment, show_experiment, step
from demur.serve.experiments._moves import (
    ACTIVE,
    ENDED,
    LEGAL,
    config_of,
    find_experiment,
    finish_move,
    promoted_arm,
)
from demur.store import ModelRow, open_store

from .conftest import QUICK, START

STAGES = tuple(LEGAL)


def stages(store):
    return {row.version: row.stage for row in store.models("refusal")}


def go(store, row, *path, minutes=1):
    for number, stage in enumerate(path):
        row = move_experiment(store, row.id, Move(stage, "key1"), START + timedelta(minutes=minutes + number))
    return row


@pytest.mark.parametrize("was", STAGES)
@pytest.mark.parametrize("to", STAGES)
def test_only_legal_moves_are_made(store, begin, was, to):
    ways = {
        "draft": (),
        "shadow": ("shadow",),
        "running": ("running",),
        "promoted": ("running", "promoted"),
        "rolled_back": ("running", "rolled_back"),
        "stopped": ("stopped",),
    }
    row = go(store, begin(store, None), *ways[was])
    assert row.stage == was
    if to == was or to in LEGAL[was]:
        after = go(store, row, to, minutes=9)
        assert after.stage == store.experiment(row.id).stage == to
        assert (after.ended_at is not None) == (to in ENDED)
    else:
        with pytest.raises(StoreError, match=f"is {was} and cannot become {to}; it may become"):
            go(store, row, to)
        assert store.experiment(row.id).stage == was


def test_the_way_to_a_promotion_is_in_registry_audit_and_history(any_store, begin):
    row = begin(any_store, None)
    assert stages(any_store) == {"v1": "champion", "v2": "challenger", "v3": "challenger"}
    go(any_store, row, "shadow")
    assert stages(any_store)["v2"] == "shadow"
    go(any_store, row, "running", minutes=2)
    assert stages(any_store)["v2"] == "challenger"
    row = go(any_store, row, "promoted", minutes=3)
    assert stages(any_store) == {"v1": "retired", "v2": "champion", "v3": "challenger"}
    assert row.ended_at == START + timedelta(minutes=3)
    events = any_store.events(row.id)
    assert [event.kind for event in events] == ["draft", "shadow", "running", "promoted"]
    assert events[-1].facts == {"from": "running", "reason": "", "arm": "challenger", "version": "v2"}
    acts = [(entry.act, entry.actor) for entry in any_store.audit_log(target=row.id)]
    assert sorted(acts) == sorted(
        [("experiment.draft", "system")]
        + [(f"experiment.{one}", "key1") for one in ("shadow", "running", "promoted")]
    )


def test_a_roll_back_rejects_the_challenger_and_keeps_the_champion(store, begin):
    go(store, begin(store), "rolled_back")
    assert stages(store) == {"v1": "champion", "v2": "rejected", "v3": "challenger"}


def test_a_promotion_that_is_rolled_back_brings_the_champion_before_it_back(store, begin):
    go(store, begin(store), "promoted", "rolled_back")
    assert stages(store) == {"v1": "champion", "v2": "rejected", "v3": "challenger"}


def test_whoever_lost_to_the_promoted_one_is_retired(store, begin):
    row = begin(store, challengers=[{"version": "v2", "name": "two"}, {"version": "v3", "name": "three"}])
    with pytest.raises(UsageError, match="which arm is to be promoted\\? give one of two, three"):
        go(store, row, "promoted")
    move_experiment(store, row.id, Move("promoted", arm="three"), START)
    assert stages(store) == {"v1": "retired", "v2": "retired", "v3": "champion"}


def test_a_champion_that_somebody_else_made_stays(store, begin):
    row = begin(store)
    store.set_stage("refusal", "v3", "champion")
    row = go(store, row, "promoted")
    assert stages(store)["v3"] == "champion"
    assert "the champion is v3 by now" in store.events(row.id, kind="promoted")[0].facts["skipped"]
    go(store, row, "rolled_back", minutes=5)
    assert stages(store)["v3"] == "champion"


def test_a_stop_leaves_the_challenger_a_challenger(store, begin):
    go(store, begin(store, "shadow"), "stopped")
    assert stages(store) == {"v1": "champion", "v2": "challenger", "v3": "challenger"}


def test_the_same_move_twice_is_made_once(store, begin):
    row = begin(store)
    first, second = (go(store, row, "stopped", minutes=minute) for minute in (1, 7))
    assert second == first
    assert len(store.events(row.id, kind="stopped")) == 1
    assert len(store.audit_log(act="experiment.stopped")) == 1


def test_of_a_task_one_experiment_runs_at_a_time(store, begin):
    row = begin(store)
    with pytest.raises(
        StoreError, match=rf"experiment '{row.id}' \(new model\) of task 'refusal' is running; end"
    ):
        begin(store, "shadow", challengers=[{"version": "v3"}])
    go(store, row, "stopped")
    assert begin(store, challengers=[{"version": "v3"}]).stage == "running"


@pytest.mark.parametrize(
    ("version", "error", "message"),
    [
        ("v9", UnknownRowError, "no version 'v9' of task 'refusal' .* register it"),
        ("v1", StoreError, "is the champion itself; give another version"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused(store, begin, version, error, message):
    with pytest.raises(error, match=message):
        begin(store, challengers=[{"version": version}])


def test_a_task_without_a_champion_is_refused(store, begin):
    store.set_stage("refusal", "v1", "retired")
    with pytest.raises(StoreError, match="has no champion to compare with; make one first"):
        begin(store)


def test_a_shadow_does_not_go_on_against_another_champion(store, begin):
    row = begin(store, "shadow")
    store.set_stage("refusal", "v3", "champion")
    with pytest.raises(StoreError, match="the champion of task 'refusal' is another since"):
        go(store, row, "running")


def test_an_experiment_that_there_is_not_is_named(store):
    with pytest.raises(UnknownRowError, match="there is no experiment 'x' in the store"):
        find_experiment(store, "x")
    with pytest.raises(UnknownRowError, match="there is no experiment 'x' in the store"):
        move_experiment(store, "x", Move("stopped"), START)


def race(url, jobs):
    """Run jobs at once, each with a store of its own; what they gave or raised."""
    barrier, found = threading.Barrier(len(jobs)), [None] * len(jobs)

    def run(number):
        with open_store(url) as store:
            barrier.wait()
            try:
                found[number] = jobs[number](store)
            except StoreError as error:
                found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_two_who_decide_at_once_one_wins(any_url, any_store, begin):
    row = begin(any_store)
    found = race(
        any_url,
        [
            lambda store, to=to: move_experiment(store, row.id, Move(to), START + timedelta(hours=1))
            for to in ("promoted", "stopped", "promoted", "stopped")
        ],
    )
    stage = any_store.experiment(row.id).stage
    won = [one for one in found if not isinstance(one, StoreError)]
    assert won
    assert {one.stage for one in won} == {stage}
    assert all("cannot become" in str(one) or "no longer" in str(one) for one in found if one not in won)
    assert stages(any_store)["v2"] == ("champion" if stage == "promoted" else "challenger")
    assert [event.kind for event in any_store.events(row.id)] == ["draft", "running", stage]


def test_two_experiments_of_a_task_do_not_start_at_once(any_url, any_store, make_config):
    rows = [
        create_experiment(any_store, make_config(challengers=[{"version": version}]), START)
        for version in ("v2", "v3")
    ]
    found = race(
        any_url, [lambda store, row=row: move_experiment(store, row.id, Move("running"), START) for row in rows]
    )
    assert sum(isinstance(one, StoreError) for one in found) == 1
    assert sorted(any_store.experiment(row.id).stage for row in rows) == ["draft", "running"]


@pytest.mark.parametrize("done", ["nothing", "audit", "registry"])
def test_what_a_process_left_when_it_was_killed_is_finished(store, begin, done):
    """The move is made and nothing that follows from it, or a part."""
    row, told = begin(store), []
    made = {"at": START.isoformat(), "actor": "system", "facts": {"arm": "challenger", "version": "v2"}}
    state = {**row.state, "moves": {**row.state["moves"], "promoted": made}}
    row = store.update_experiment(row.id, stage="promoted", state=state, ended_at=START, was="running")
    if done != "nothing":
        store.audit("system", "experiment.promoted", row.id)
    if done == "registry":
        store.set_stage("refusal", "v2", "champion")
    assert finish_move(store, row, lambda kind, facts: told.append((kind, facts["version"])))
    assert stages(store)["v2"] == "champion"
    assert len(store.audit_log(act="experiment.promoted")) == 1
    assert told == [("experiment.promoted", "v2")]
    assert not finish_move(store, row)


def test_a_stage_that_is_over_keeps_its_figures_and_forgets_who_was_counted(store, begin, traffic):
    row = begin(store)
    traffic(store).send(60, START, 600)
    step(store, START + timedelta(hours=1), QUICK)
    before = show_experiment(store, store.experiment(row.id))
    row = move_experiment(store, row.id, Move("stopped", "key1"), START + timedelta(hours=1))
    assert not {"seen", "pairs"} & set(row.state["stages"]["running"]["streams"])
    after = show_experiment(store, row)
    assert (after.arms, after.differences, after.guards) == (before.arms, before.differences, before.guards)


def test_nobody_is_told_of_what_somebody_commanded(store, begin):
    row, told = begin(store), []
    move_experiment(store, row.id, Move("stopped", "key1"), START, lambda *facts: told.append(facts))
    assert told == []


@given(st.sampled_from(STAGES))
def test_every_way_ends(stage):
    """No stage is come to twice, so that its event can be named after it."""

    def walk(at, seen):
        assert at not in seen
        for then in LEGAL[at]:
            walk(then, {*seen, at})

    walk(stage, set())
    assert set(LEGAL) == {"draft", *ACTIVE, *ENDED}


def test_the_arm_that_is_meant(make_config):
    assert promoted_arm(make_config(), None) == "challenger"
    with pytest.raises(UsageError, match="give one of challenger"):
        promoted_arm(make_config(), "champion")


def test_an_arm_whose_model_left_the_registry_ends_like_any_other(store, begin):
    row = begin(store)
    store.register_model(ModelRow(task="other", name="x", version="v7", folder="f", stage="challenger"))
    config = row.config | {"challengers": [{"version": "gone"}]}
    assert config_of(replace(row, config=config)).version_of("challenger") == "gone"
    made = {"at": START.isoformat(), "actor": "key1", "facts": {}}
    ended = replace(row, config=config, stage="stopped", state={**row.state, "moves": {"stopped": made}})
    assert finish_move(store, ended)
