from datetime import timedelta

import pytest

from demur.config import parse_settings
from demur.serve.experiments import ExperimentsConfig, Move, move_experiment, set_weights
from demur.serve.experiments._evaluate import (
    Weights,
    current_weights,
    evaluate,
    load_streams,
    stage_since,
    weight_changes,
    weights_of,
)
from demur.serve.experiments._moves import config_of
from demur.store import ExperimentEvent, FeedbackRow

from .conftest import QUICK, START

EVEN = {"champion": 0.5, "challenger": 0.5}
LATER = {"champion": 0.5, "challenger": 0.1}


def after(minutes):
    return START + timedelta(minutes=minutes)


def run(store, row, now, settings=QUICK):
    return evaluate(store, row, config_of(row), settings, now)


def test_what_is_in_the_store_is_counted_once(any_store, begin, traffic):
    row = begin(any_store)
    traffic(any_store).send(120, START, 60, share_labelled=0.5)
    found = run(any_store, row, after(5))
    assert sum(found.streams.rows.values()) == 120
    labelled = sum(found.streams.counted(arm) for arm in ("champion", "challenger"))
    assert labelled == len(any_store.feedback())
    assert found.rows == 120 + labelled
    row = any_store.update_experiment(row.id, state={**row.state, "stages": {"running": found.state}})
    again = run(any_store, row, after(10))
    assert again.rows == 0
    assert again.state == found.state


def test_rows_count_once_they_are_as_old_as_the_lag(store, begin, traffic):
    row = begin(store)
    traffic(store).send(59, START, 60)  # one a second
    settings = QUICK.model_copy(update={"lag_s": 30.0})
    assert run(store, row, after(1), settings).streams.rows != run(store, row, after(2), settings).streams.rows
    assert sum(run(store, row, after(1), settings).streams.rows.values()) == 29


def test_answers_of_workers_that_may_not_know_yet_do_not_count(store, begin, traffic):
    row = begin(store)
    source = traffic(store)
    source.send(59, START, 60)
    settings = QUICK.model_copy(update={"settle_s": 20.0})
    assert sum(run(store, row, after(5), settings).streams.rows.values()) == 40
    set_weights(store, row.id, {"challenger": 0.1}, after(1))
    source.router.refresh()
    source.send(59, after(1), 60)
    found = run(store, row, after(5), settings)
    assert sum(found.streams.rows.values()) == 80
    assert sum(found.streams.counted(arm) for arm in EVEN) == 80
    assert found.streams.weights["plain"] == LATER


def test_more_than_fits_one_evaluation_waits_for_the_next(store, begin, traffic):
    row = begin(store)
    traffic(store).send(100, START, 60)
    settings = QUICK.model_copy(update={"most_rows": 40, "page_rows": 15})
    taken = []
    for _ in range(4):
        found = run(store, row, after(5), settings)
        taken.append((sum(found.streams.rows.values()), found.is_behind))
        row = store.update_experiment(row.id, state={**row.state, "stages": {"running": found.state}})
    assert taken == [(40, True), (80, True), (100, False), (100, False)]
    whole = run(store, store.update_experiment(row.id, state={**row.state, "stages": {}}), after(5))
    assert whole.state["streams"] == found.state["streams"]


def test_failures_are_merged_with_answers_by_time(store, begin, traffic):
    row = begin(store)
    traffic(store).send(40, START, 60)
    for second, arm in ((10, "challenger"), (50, "champion"), (400, "challenger")):
        facts = {"arm": arm, "count": 2}
        at = START + timedelta(seconds=second)
        store.add_event(ExperimentEvent(experiment=row.id, kind="failures", facts=facts, at=at))
    found = run(store, row, after(5))
    errors = [found.streams.tallies[arm]["error_rate"][1] for arm in ("champion", "challenger")]
    assert errors == [2, 2]
    assert found.state["cursors"]["failures"][0] == (START + timedelta(seconds=50)).isoformat()


def test_only_feedback_of_the_sources_that_were_named_counts(store, begin, traffic):
    row = begin(store, sources=["people"])
    traffic(store).send(20, START, 60)
    store.add_feedback(
        [FeedbackRow(request_id="0-3", task="refusal", label="no_refusal", source="people", at=after(2))]
    )
    found = run(store, row, after(5))
    assert sum(found.streams.counted(arm) for arm in EVEN) == 1


def test_a_stage_begins_with_its_move_and_reads_nothing_before(store, begin, traffic):
    row = begin(store, at=after(10))
    assert stage_since(row) == after(10)
    traffic(store).send(20, START, 60)
    assert run(store, row, after(20)).rows == 0


def test_weights_of_a_time_are_the_last_set_before_it():
    weights = Weights(((START, EVEN), (after(5), LATER)), 30)
    assert weights.at(START) == weights.at(after(4)) == weights.at(after(-3)) == EVEN
    assert weights.at(after(5)) == weights.at(after(9)) == LATER
    assert [weights.is_settled(after(minute)) for minute in (-1, 0, 0.4, 0.5, 4, 5.2, 5.5)] == [
        False,
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_weights_are_known_also_when_old_events_are_gone(store, begin):
    row = begin(store)
    config = config_of(row)
    assert current_weights(store, row, config) == EVEN
    set_weights(store, row.id, {"challenger": 0.1}, after(5))
    assert current_weights(store, row, config) == LATER
    assert weights_of(store, row, config, 0).changes == ((START, EVEN), (after(5), LATER))
    kept = [[at.isoformat(), weights] for at, weights in weight_changes(store, row)]
    row = store.update_experiment(row.id, state={**row.state, "weights": kept})
    move_experiment(store, row.id, Move("stopped", "ops"), after(6))
    store.purge(after(60 * 72), ["experiment_events"])
    assert store.events(row.id) == []
    assert current_weights(store, row, config) == LATER


def test_a_stage_without_state_begins_empty(store, begin):
    row = begin(store, "shadow")
    found = load_streams(row, config_of(row), EVEN)
    assert found.is_paired
    assert found.rows == {"champion": 0, "challenger": 0}


@pytest.mark.parametrize("settle_s", [0, 60])
def test_settings_have_bounds(settle_s):
    assert parse_settings(ExperimentsConfig, {"settle_s": settle_s}).settle_s == settle_s
