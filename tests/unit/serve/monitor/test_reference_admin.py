import pytest

from demur.errors import UsageError
from demur.serve.monitor import take_reference

from .conftest import at


def test_the_newest_rows_become_the_reference_and_alarms_begin_anew(store, champion, config, serve_rows):
    serve_rows(250)
    store.change_monitor_state(
        "watch/refusal", lambda was: {"reference": "old", "version": "v1", "alarm": {"tested": 9}}
    )
    row = take_reference(store, config(), "refusal", at(250), "key1", rows=120)
    state = store.monitor_state("watch/refusal")
    assert (row.source, row.rows, state["reference"]) == ("admin", 120, row.id)
    assert state["alarm"]["tested"] == 0
    assert row.facts["first"] == at(130).isoformat()
    (act,) = store.audit_log(act="drift.reference")
    assert (act.actor, act.facts["rows"]) == ("key1", 120)


def test_as_many_rows_as_configured_are_taken(store, champion, config, serve_rows):
    serve_rows(400)
    assert take_reference(store, config(), "refusal", at(400), "key1").rows == 300


def test_too_few_rows_are_refused(store, champion, config, serve_rows):
    serve_rows(99)
    with pytest.raises(UsageError, match="has answered 99 rows; a reference takes 100"):
        take_reference(store, config(), "refusal", at(100), "key1")
    assert store.audit_log() == []


def test_a_task_without_champion_is_refused(store, config):
    with pytest.raises(UsageError, match="has no champion"):
        take_reference(store, config(), "refusal", at(0), "key1")
