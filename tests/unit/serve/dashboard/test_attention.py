from dataclasses import replace
from datetime import timedelta

from demur.serve.dashboard._attention import find_concerns
from demur.serve.dashboard._local import Counted
from demur.store import SpoolStats, TrafficSummary


def words(*given):
    return [f"{one.anchor}: {one.words}" for one in find_concerns(*given)]


def test_nothing_is_said_where_all_is_well(local, empty):
    assert words(local, empty) == []
    assert words(local, None) == []


def test_what_is_wrong_here_is_known_without_the_database(local):
    spool = SpoolStats(rows=40, bytes=9000, oldest_age_s=300.0, files=1, quarantined=2)
    known = replace(local, status="draining", problems={"v" * 40: "gone"}, spool=spool, counted=Counted(lost=3))
    found = words(known, None)
    assert found == [
        "server: This worker is draining.",
        "models: Model vvvvvvvvvvvv cannot be loaded: gone",
        "server: Records have waited 5 min on disk for the database.",
        "server: 2 records fit no table and are set aside; see: demur store drain --spool",
        "server: 3 records were lost since the start.",
    ]


def test_rows_that_wait_a_moment_are_no_concern(local):
    spool = SpoolStats(rows=4, bytes=900, oldest_age_s=2.0, files=1, quarantined=0)
    assert words(replace(local, spool=spool), None) == []


def test_what_the_store_tells_is_named_with_its_place(local, filled):
    assert "drift: The last window of refusal raised an alarm." in words(local, filled)
    failing = replace(filled, traffic=[TrafficSummary(100, 7)])
    assert "traffic: 7.0 % of requests failed." in words(local, failing)


def test_ends_of_the_last_day_are_told(local, filled):
    row = replace(filled.retrains[1], ended_at=filled.at - timedelta(hours=2))
    one = filled.experiments[0]
    guards = [one.guards[0].model_copy(update={"is_breached": True})]
    rolled = one.model_copy(update={"stage": "rolled_back", "ended_at": filled.at - timedelta(hours=1)})
    found = replace(filled, retrains=[row], experiments=[one.model_copy(update={"guards": guards}), rolled])
    said = words(local, found)
    assert "retraining: A retraining of refusal ended as failed." in said
    assert "experiments: A guard rail of “DeBERTa with LoRA” is passed." in said
    assert "experiments: “DeBERTa with LoRA” was rolled back." in said
    old = replace(found, at=filled.at + timedelta(days=2))
    assert not any("ended as" in one or "rolled back" in one for one in words(local, old))
