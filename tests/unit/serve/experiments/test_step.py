import threading
from datetime import timedelta

import pytest

from demur.serve.experiments import (
    ExperimentsConfig,
    Move,
    StepReport,
    move_experiment,
    set_weights,
    show_experiment,
    step,
)
from demur.serve.experiments import _step as module
from demur.store import FeedbackRow, ModelRow, open_store

from .conftest import QUICK, START

PROMOTE = {"rule": "superior", "min_rows": 200, "min_hours": 1}
GUARDS = [
    {"metric": "latency_p95_ms", "at_most": 100},
    {"metric": "flag_rate", "above_champion": 0.1},
    {"metric": "unsure_rate", "at_most": 0.2},
]


def after(hours):
    return START + timedelta(hours=hours)


def stages(store):
    return {row.version: row.stage for row in store.models("refusal")}


def run(store, hours, told=None, config=QUICK):
    tell = None if told is None else lambda kind, facts: told.append((kind, facts["reason"]))
    return step(store, after(hours), config, tell)


def test_nothing_is_done_without_experiments(store, begin):
    begin(store, None)
    assert run(store, 1) == []


@pytest.mark.slow
def test_a_better_challenger_goes_from_shadow_to_champion_by_itself(any_store, begin, traffic):
    """The whole way, with nobody commanding anything after the start."""
    row, told = begin(any_store, "shadow", promote=PROMOTE, shadow={"min_rows": 100, "min_hours": 1}), []
    source = traffic(any_store, accuracy={"v1": 0.8, "v2": 0.93})
    source.send(150, START, 1800)
    assert run(any_store, 0.9, told)[0] == StepReport(row.id, "shadow", "shadow", 300 + 2 * 150)
    assert run(any_store, 1, told)[0].stage == "running"
    source.router.refresh()
    for hour in range(1, 6):
        source.send(600, after(hour), 3500)
        report = run(any_store, hour + 1, told)[0]
        if report.stage != "running":
            break
    assert report.stage == any_store.experiment(row.id).stage == "promoted"
    assert report.reason == "challenger is better than the champion by accuracy"
    assert stages(any_store) == {"v1": "retired", "v2": "champion", "v3": "challenger"}
    assert [kind for kind, _ in told] == ["experiment.running", "experiment.promoted"]
    assert [event.kind for event in any_store.events(row.id)] == ["draft", "shadow", "running", "promoted"]
    assert {entry.actor for entry in any_store.audit_log(act="experiment.promoted")} == {"system"}
    source.router.refresh()
    assert source.router.route("refusal", "s1").experiment is None
    assert run(any_store, 9, told) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"latency_ms": lambda random: random.exponential(80)}, "latency_p95_ms at most 100"),
        ({"is_flagged": lambda random: random.random() < 0.9}, "flag_rate champion + 0.1"),
        ({"is_unsure": lambda random: random.random() < 0.5}, "unsure_rate at most 0.2"),
    ],
)
@pytest.mark.parametrize("stage", ["shadow", "running"])
def test_a_guard_rail_that_is_passed_rolls_back_and_says_so(store, begin, traffic, stage, values, words):
    row, told = begin(store, stage, guards=GUARDS, shadow={"then": "wait"}), []
    traffic(store, values={"v2": values}).send(400, START, 600)
    (report,) = run(store, 0.5, told)
    assert report.stage == "rolled_back"
    assert stages(store)["v2"] == "rejected"
    assert stages(store)["v1"] == "champion"
    ((kind, reason),) = told
    assert kind == "experiment.rolled_back"
    assert words in reason
    event = store.events(row.id, kind="rolled_back")[0]
    assert event.facts["arm"] == "challenger"
    assert event.facts["result"]["n"] > 0
    assert store.audit_log(act="experiment.rolled_back")[0].facts["guard"] == event.facts["guard"]


def test_a_challenger_within_its_guard_rails_goes_on(store, begin, traffic):
    begin(store, guards=GUARDS)
    traffic(store).send(600, START, 600)
    assert run(store, 0.5)[0].stage == "running"


def test_a_challenger_that_is_worse_is_given_up(store, begin, traffic):
    begin(store)
    traffic(store, accuracy={"v1": 0.95, "v2": 0.6}).send(500, START, 600)
    report = run(store, 0.5)[0]
    assert (report.stage, stages(store)["v2"]) == ("rolled_back", "rejected")


def test_an_experiment_without_a_winner_stops_in_the_end(store, begin):
    begin(store, max_hours=10)
    assert run(store, 9.9)[0].stage == "running"
    assert run(store, 10)[0].stage == "stopped"


def test_an_experiment_whose_champion_was_replaced_stops(store, begin, traffic):
    begin(store)
    store.set_stage("refusal", "v3", "champion")
    report = run(store, 1)[0]
    assert (report.stage, report.reason) == (
        "stopped",
        "the champion of task 'refusal' is another since the experiment began",
    )
    assert stages(store) == {"v1": "retired", "v2": "challenger", "v3": "champion"}


@pytest.mark.parametrize(
    "cuts", [(2,), (0.4, 0.45, 1, 1.01, 1.7, 2), tuple(number / 8 for number in range(1, 17))]
)
def test_however_often_it_was_interrupted_the_result_is_the_same(store, begin, traffic, cuts, url):
    """Steps at other times, each with a new store and other pages: the same state to the last digit."""
    row = begin(store, guards=GUARDS, roll_back={"rule": "never"}, challengers=[{"version": "v2", "weight": 0.2}])
    source = traffic(store, accuracy={"v1": 0.9, "v2": 0.85}, rows_each=2)
    source.send(300, START, 3000, share_labelled=0.6)
    set_weights(store, row.id, {"challenger": 0.5}, after(1))
    source.router.refresh()
    source.send(300, after(1), 3000, share_labelled=0.6)
    for number, hours in enumerate(cuts):
        with open_store(url) as fresh:
            step(fresh, after(hours), QUICK.model_copy(update={"page_rows": 40 + number}))
    found = store.experiment(row.id).state["stages"]["running"]["streams"]
    assert found == expected_streams(store, row)


def expected_streams(store, row):
    """The state after one evaluation of everything."""
    from demur.serve.experiments._evaluate import evaluate
    from demur.serve.experiments._moves import config_of

    return evaluate(store, row, config_of(row), QUICK, after(3)).state["streams"]


def test_two_controllers_at_once_count_nothing_twice(any_url, any_store, begin, traffic):
    row = begin(any_store, guards=GUARDS)
    traffic(any_store).send(200, START, 600)
    barrier, told = threading.Barrier(3), []

    def work():
        with open_store(any_url) as store:
            barrier.wait()
            step(store, after(1), QUICK, lambda kind, facts: told.append(kind))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = any_store.experiment(row.id).state["stages"]["running"]["streams"]
    assert sum(found["rows"].values()) == 200
    assert found == expected_streams(any_store, row)
    assert told == []


def test_an_experiment_that_another_evaluates_is_left_alone(store, begin, traffic):
    row = begin(store)
    store.lease(f"experiment/{row.id}", "somebody else", 60)
    assert run(store, 1) == []
    store.release(f"experiment/{row.id}", "somebody else")
    assert len(run(store, 1)) == 1


def test_an_experiment_that_was_moved_meanwhile_is_not_written_to(store, begin, traffic, monkeypatch):
    """A command comes between reading and writing."""
    row = begin(store)
    traffic(store).send(50, START, 600)
    plain = module.evaluate

    def evaluate(*given):
        move_experiment(store, row.id, Move("stopped", "key1"), after(1))
        return plain(*given)

    monkeypatch.setattr(module, "evaluate", evaluate)
    assert run(store, 1) == [StepReport(row.id, "running", "stopped")]
    assert store.experiment(row.id).state["stages"] == {}


def add_other_task(store):
    for version, stage in (("j1", "champion"), ("j2", "challenger")):
        store.register_model(ModelRow(task="jailbreak", name=version, version=version, folder="f", stage=stage))


def test_one_that_cannot_be_read_keeps_no_other_waiting(store, begin):
    bad = begin(store)
    store.update_experiment(bad.id, state={**bad.state, "stages": {"running": {"streams": {}, "cursors": {}}}})
    add_other_task(store)
    good = begin(store, "running", task="jailbreak", challengers=[{"version": "j2"}])
    reports = {report.experiment: report for report in run(store, 1)}
    assert "cannot be read" in reports[bad.id].reason
    assert reports[good.id].stage == "running"


def test_what_a_killed_process_left_is_finished_by_the_next_step(store, begin):
    row, told = begin(store), []
    made = {"at": after(1).isoformat(), "actor": "system", "facts": {"reason": "x", "version": "v2"}}
    state = {**row.state, "moves": {**row.state["moves"], "promoted": made}}
    store.update_experiment(row.id, stage="promoted", state=state, ended_at=after(1), was="running")
    assert run(store, 1.1, told) == []
    assert stages(store)["v2"] == "champion"
    assert told == [("experiment.promoted", "x")]
    run(store, 1.2, told)
    assert len(told) == 1


def test_deletion_by_age_makes_no_move_happen_again(store, begin):
    row, told = begin(store), []
    run(store, 1, told)
    moves = len(store.audit_log(target=row.id))
    for hour in (300, 301):
        store.purge(after(hour - 100), ["experiment_events"])
        run(store, hour, told)
    assert told == []
    assert len(store.audit_log(target=row.id)) == moves
    move_experiment(store, row.id, Move("stopped", "ops"), after(302))
    store.purge(after(302.5), ["experiment_events"])
    assert {one.kind for one in store.events(row.id)} >= {"running", "stopped"}
    store.purge(after(402), ["experiment_events"])
    assert store.events(row.id) == []


def test_arms_that_do_not_get_their_share_are_told_of_once(store, begin, traffic):
    row, told = begin(store, challengers=[{"version": "v2", "weight": 0.5}], guards=[]), []
    source = traffic(store)
    set_weights(store, row.id, {"challenger": 0.05}, START - timedelta(hours=1))  # the worker never hears of it
    source.send(300, START, 600)
    for hours in (1, 2):
        run(store, hours, told)
    assert [kind for kind, _ in told] == ["experiment.imbalance"]
    assert len(store.events(row.id, kind="imbalance")) == 1


def test_a_step_writes_nothing_when_nothing_is_new(store, begin, traffic, monkeypatch):
    begin(store)
    traffic(store).send(50, START, 600)
    run(store, 1)
    writes = []
    monkeypatch.setattr(type(store), "update_experiment", lambda *given, **values: writes.append(values))
    run(store, 2)
    assert writes == []


def test_the_log_is_told_where_nobody_else_is(store, begin, caplog):
    begin(store, max_hours=1)
    with caplog.at_level("WARNING", logger="demur.serve.experiments"):
        step(store, after(2), QUICK)
    assert "experiment.stopped: experiment" in caplog.text
    assert "no winner after 1 hours" in caplog.text


def test_rows_wait_for_the_lag_by_default(store, begin, traffic):
    begin(store)
    traffic(store).send(100, START + timedelta(minutes=2), 10)
    early = step(store, START + timedelta(minutes=2, seconds=20), ExperimentsConfig())
    late = step(store, START + timedelta(minutes=3), ExperimentsConfig())
    assert (early[0].rows, late[0].rows) == (0, 200)


NO_WORSE = {"rule": "non_inferior", "margin": 0.03, "min_rows": 100, "min_hours": 1}
MISSED = [
    {"metric": "missed_threat_rate", "above_champion": 0.1},
    {"metric": "missed_threat_rate", "at_most": 0.3},
]


def lie(store, favour, key="evil"):
    """Feedback of one key on all answers: whatever ``favour`` answered was right, all else wrong."""
    rows = store.predictions()
    other = {"hard_refusal": "no_refusal", "no_refusal": "hard_refusal"}
    lies = [
        FeedbackRow(
            id=f"{key}-{row.id}",
            request_id=row.request_id,
            task="refusal",
            label=row.label if row.arm == favour else other[row.label],
            key_id=key,
            at=row.at - timedelta(milliseconds=1),  # before anybody else says anything
        )
        for row in rows
    ]
    store.add_feedback(lies)


@pytest.mark.parametrize("stage", ["shadow", "running"])
@pytest.mark.parametrize("key", ["k1", ""])
@pytest.mark.parametrize("better", ["v1", "v2"])
def test_one_key_decides_nothing_in_either_direction(store, begin, traffic, stage, key, better):
    """Not a promotion, not that a challenger is given up, not a guard rail; a server without keys is one key."""
    row = begin(store, stage, promote=NO_WORSE, guards=MISSED, shadow={"then": "wait"})
    accuracy = {"v1": 0.6, "v2": 0.6, better: 0.98}
    traffic(store, accuracy=accuracy, key=key).send(700, START, 3000)
    assert run(store, 2)[0].stage == stage
    found = show_experiment(store, store.experiment(row.id))
    (difference,) = found.differences
    assert not difference.low <= 0 <= difference.high
    assert (difference.confirmed_low, difference.confirmed_high) == pytest.approx((-1, 1))
    assert not any(guard.is_breached for guard in found.guards)
    assert {one.key for one in found.keys} == {key or None}
    assert sum(one.share for one in found.keys) == 1


def test_where_the_one_key_is_trusted_it_decides(store, begin, traffic):
    begin(store, promote=NO_WORSE, confirm_moves=False)
    traffic(store, accuracy={"v1": 0.8, "v2": 0.98}, key="ours").send(700, START, 3000)
    assert run(store, 2)[0].stage == "promoted"


@pytest.mark.parametrize("source", ["people", "judge"])
def test_what_people_or_a_judge_say_needs_no_second_key(store, begin, traffic, source):
    row = begin(store, promote=NO_WORSE)
    traffic(store, accuracy={"v1": 0.8, "v2": 0.98}, key="ours", source=source).send(700, START, 3000)
    assert run(store, 2)[0].stage == "promoted"
    (difference,) = show_experiment(store, store.experiment(row.id)).differences
    assert (difference.confirmed_low, difference.confirmed_high) == (difference.low, difference.high)


def test_a_key_that_speaks_first_of_every_answer_promotes_no_bad_challenger(store, begin, traffic):
    """Ten honest keys label the same answers afterwards; what they say is counted without the first one."""
    row = begin(store, promote=NO_WORSE, roll_back={"rule": "never"})
    traffic(store, accuracy={"v1": 0.98, "v2": 0.7}).send(700, START, 3000)
    lie(store, "challenger")
    assert run(store, 2)[0].stage == "running"
    (difference,) = show_experiment(store, store.experiment(row.id)).differences
    assert difference.low > 0
    assert difference.confirmed_low < -0.2


@pytest.mark.parametrize("guards", [[], MISSED])
def test_a_key_that_speaks_first_of_every_answer_gives_up_no_good_challenger(store, begin, traffic, guards):
    """By the comparison and by guard rails on labelled rates."""
    row = begin(store, guards=guards, roll_back={"rule": "never" if guards else "inferior"})
    traffic(store, accuracy={"v1": 0.9, "v2": 0.98}).send(700, START, 3000)
    lie(store, "champion")
    assert run(store, 2)[0].stage == "running"
    found = show_experiment(store, store.experiment(row.id))
    assert found.differences[0].high < 0 < found.differences[0].confirmed_high
    assert not any(one.is_breached for one in found.guards)


@pytest.mark.parametrize(("accuracy", "guards"), [(0.98, []), (0.5, []), (0.5, MISSED)])
def test_what_many_keys_say_still_decides(store, begin, traffic, accuracy, guards):
    begin(store, promote=NO_WORSE, guards=guards)
    traffic(store, accuracy={"v1": 0.8, "v2": accuracy}).send(700, START, 3000)
    assert run(store, 2)[0].stage == ("promoted" if accuracy > 0.8 else "rolled_back")
