import json
from datetime import timedelta

import pytest

from demur.serve.experiments import Move, move_experiment, set_weights, show_experiment, show_experiments, step
from demur.store import open_store

from .conftest import QUICK, START

GUARDS = [{"metric": "latency_p95_ms", "at_most": 500}, {"metric": "flag_rate", "above_champion": 0.3}]
LATER = START + timedelta(hours=1)


def test_a_draft_shows_its_arms_and_no_figures(store, begin):
    found = show_experiment(store, begin(store, None))
    assert (found.stage, found.figures_of, found.differences, found.guards) == ("draft", None, [], [])
    assert [(arm.name, arm.version, arm.weight, arm.rows) for arm in found.arms] == [
        ("champion", None, 0.5, 0),
        ("challenger", "v2", 0.5, 0),
    ]
    assert "salt" not in found.config
    assert found.is_balanced is None


def test_figures_have_intervals_and_the_rows_behind_them(store, begin, traffic):
    row = begin(store, guards=GUARDS)
    traffic(store, accuracy={"v1": 0.9, "v2": 0.8}, values={"v2": {"latency_ms": 40.0}}).send(400, START, 600)
    step(store, LATER, QUICK)
    found = show_experiment(store, store.experiment(row.id))
    champion, challenger = found.arms
    assert champion.version == "v1"
    assert champion.rows + challenger.rows == 400
    accuracy = champion.metrics["accuracy"]
    assert accuracy.low < 0.9 < accuracy.high
    assert accuracy.low <= accuracy.mean <= accuracy.high
    assert accuracy.n == champion.rows
    assert challenger.metrics["latency_ms"].mean == 40
    assert challenger.metrics["latency_ms"].low is None
    assert challenger.latency_p95_ms == pytest.approx(40, rel=0.03)
    (difference,) = found.differences
    assert difference.low <= difference.estimate <= difference.high
    assert (difference.arm, difference.metric, difference.is_better_high) == ("challenger", "accuracy", True)
    assert [guard.guard for guard in found.guards] == ["latency_p95_ms at most 500", "flag_rate champion + 0.3"]
    assert [guard.p_value is None for guard in found.guards] == [False, True]
    assert not any(guard.is_breached for guard in found.guards)
    assert found.is_balanced
    json.dumps(found.model_dump(mode="json"), allow_nan=False)


def test_figures_are_of_the_stage_that_was_evaluated_last(store, begin, traffic):
    row = begin(store, "shadow")
    source = traffic(store)
    source.send(50, START, 600)
    step(store, START + timedelta(minutes=30), QUICK)
    found = show_experiment(store, store.experiment(row.id))
    assert (found.figures_of, found.differences[0].is_paired) == ("shadow", True)
    move_experiment(store, row.id, Move("running", "key1"), LATER)
    assert show_experiment(store, store.experiment(row.id)).figures_of is None
    step(store, LATER, QUICK)
    assert show_experiment(store, store.experiment(row.id)).figures_of == "running"
    move_experiment(store, row.id, Move("stopped", "key1"), LATER)
    assert show_experiment(store, store.experiment(row.id)).figures_of == "running"


def test_weights_are_those_of_now(store, begin):
    row = begin(store)
    set_weights(store, row.id, {"challenger": 0.2}, LATER)
    assert [arm.weight for arm in show_experiment(store, row).arms] == [0.5, 0.2]


def test_the_list_is_the_newest_first_and_says_what_cannot_be_read(store, begin, url):
    first = begin(store, None)
    second = begin(store, None, at=LATER, metric="flag_rate")
    with open_store(url) as other, other._write() as connection:
        connection.exec_driver_sql(
            'UPDATE demur_experiments SET config = \'{"metric": "x"}\' WHERE id = ?', (first.id,)
        )
    found = show_experiments(store, "refusal")
    assert [one.id for one in found] == [second.id, first.id]
    assert found[0].problem is None
    assert found[1].problem
    assert found[1].metric == "x"
    assert len(show_experiments(store, limit=1)) == 1
    assert show_experiments(store, "jailbreak") == []
