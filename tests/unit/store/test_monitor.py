"""Tests of what the monitor keeps: samples without texts, references, states that two may change at once."""

import threading
from datetime import timedelta

import pytest

from demur.errors import UnknownRowError
from demur.store import InputSampleRow, ReferenceRow, TrafficRow, open_store


def sample(number, at, **values):
    defaults = {"request_id": f"r{number}", "sketch": "ngrams-1", "prompt": "AAA=", "language": "en", "at": at}
    return InputSampleRow(**(defaults | values))


def test_samples_are_stored_once_and_found_by_time(store, noon):
    rows = [sample(number, noon + timedelta(minutes=number)) for number in range(4)]
    assert store.add_input_samples(rows) == 4
    assert store.add_input_samples(rows) == 0
    assert store.input_samples(noon + timedelta(minutes=1), noon + timedelta(minutes=3)) == rows[1:3]
    assert store.input_samples(limit=1) == rows[:1]
    assert rows[0].id == "r0/0"


def test_the_samples_of_a_deleted_request_go_with_it(store, noon):
    store.add_input_samples([sample(1, noon), sample(2, noon)])
    assert store.delete("r1") == 1
    assert store.add_input_samples([sample(1, noon)]) == 0
    assert [row.request_id for row in store.input_samples()] == ["r2"]


def test_samples_and_traffic_are_purged_by_age(store, noon):
    store.add_input_samples([sample(1, noon), sample(2, noon + timedelta(days=2))])
    store.add_traffic([TrafficRow(worker="w", seconds=10, requests=5, errors=1, at=noon)])
    found = store.purge(noon + timedelta(days=1))
    assert (found["input_samples"], found["traffic"]) == (1, 1)
    assert len(store.input_samples()) == 1


def test_traffic_is_found_by_time(store, noon):
    rows = [
        TrafficRow(worker="w", seconds=10, requests=n, errors=0, at=noon + timedelta(seconds=10 * n))
        for n in range(3)
    ]
    store.add_traffic(rows)
    assert store.traffic(noon + timedelta(seconds=10)) == rows[1:]
    assert store.traffic(until=noon + timedelta(seconds=10)) == rows[:1]


def test_answers_are_counted_without_shadows_and_other_versions(store, prediction, noon):
    store.add_predictions(
        [prediction(1), prediction(2), prediction(3, is_shadow=True), prediction(4, version="v2"), prediction(9)]
    )
    assert store.count_answers("refusal", "v1") == 3
    assert store.count_answers("refusal", "v1", noon, noon + timedelta(minutes=5)) == 2


def test_a_reference_comes_whole_alone_and_without_payload_in_lists(store, noon):
    row = ReferenceRow(
        task="refusal", version="v1", source="live", rows=3, payload="QUJD", facts={"a": 1}, at=noon
    )
    other = ReferenceRow(task="jailbreak", version="v1", source="live", rows=3, at=noon)
    store.add_reference(row)
    store.add_reference(other)
    assert store.reference(row.id) == row
    (listed,) = store.references("refusal", "v1")
    assert (listed.id, listed.payload, listed.facts) == (row.id, "", {"a": 1})
    assert store.references("refusal", "v2") == []
    with pytest.raises(UnknownRowError, match="no reference 'x'"):
        store.reference("x")


def test_a_state_is_changed_replaced_and_deleted(store):
    assert store.monitor_state("drift/refusal") is None
    assert store.change_monitor_state("drift/refusal", lambda was: {"was": was}) == {"was": None}
    assert store.change_monitor_state("drift/refusal", lambda was: {**was, "n": 2}) == {"was": None, "n": 2}
    assert store.monitor_state("drift/refusal") == {"was": None, "n": 2}
    assert store.change_monitor_state("drift/refusal", lambda was: None) is None
    assert store.monitor_state("drift/refusal") is None


def test_a_name_that_no_database_takes_is_cleaned(store):
    store.change_monitor_state("drift/\x00\ud800", lambda was: {"n": 1})
    assert store.monitor_state("drift/\x00\ud800") == {"n": 1}


def test_states_are_listed_by_the_beginning_of_their_names(store):
    for name in ("alert/b", "alert/a", "alert_c", "drift/a"):
        store.change_monitor_state(name, lambda was, name=name: {"name": name})
    assert list(store.monitor_states("alert/")) == ["alert/a", "alert/b"]
    assert store.monitor_states("ale%") == {}


def test_a_change_that_fails_leaves_the_state(store):
    store.change_monitor_state("x", lambda was: {"n": 1})

    def fail(was):
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError, match="no"):
        store.change_monitor_state("x", fail)
    assert store.monitor_state("x") == {"n": 1}


def test_of_those_who_change_at_once_none_is_lost(url):
    with open_store(url) as store:
        store.migrate()

        def count():
            for _ in range(10):
                store.change_monitor_state("n", lambda was: {"n": (was or {"n": 0})["n"] + 1})

        threads = [threading.Thread(target=count) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert store.monitor_state("n") == {"n": 40}
