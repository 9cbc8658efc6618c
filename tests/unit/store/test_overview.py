import math
from datetime import timedelta

import pytest
from tests.unit.store.conftest import NOON

from demur.errors import StoreUnavailableError
from demur.store import FeedbackRow, PredictionRow, StepSummary, TrafficRow, TrafficSummary, open_store

MINUTE = timedelta(minutes=1)
STEPS = [(NOON + n * MINUTE, NOON + (n + 1) * MINUTE) for n in range(3)]


def row(number, second, **values):
    defaults = {
        "request_id": f"r{number}",
        "task": "refusal",
        "model": "m",
        "version": "v1",
        "label": "safe",
        "probabilities": {"safe": 1.0},
        "threat_score": 0.0,
        "is_flagged": False,
        "is_unsure": False,
        "latency_ms": 10.0,
        "at": NOON + timedelta(seconds=second),
    }
    return PredictionRow(**(defaults | values))


def test_steps_are_counted_apart_and_their_ends_are_open(store):
    store.add_predictions([row(0, 0), row(1, 59.9), row(2, 60), row(3, 180), row(4, 30, task="other")])
    assert [one.rows for one in store.summarise("refusal", STEPS)] == [2, 1, 0]
    assert store.summarise("refusal", STEPS)[2] == StepSummary()


def test_labels_and_flags_are_of_what_was_told_and_not_of_shadows(store):
    rows = [row(n, n, label="threat", is_flagged=True) for n in range(3)]
    rows += [row(n, n, is_unsure=True) for n in range(3, 5)]
    rows += [row(5, 5, label="threat", is_flagged=True, is_shadow=True, arm="new", latency_ms=9000.0)]
    rows += [row(6, 6, is_flagged=None, is_unsure=None)]
    store.add_predictions(rows)
    (found, *_) = store.summarise("refusal", STEPS)
    assert (found.rows, found.sampled, found.answers) == (7, 7, 6)
    assert found.labels == {"threat": 3, "safe": 3}
    assert (found.flagged, found.unsure) == (3, 2)
    assert max(found.latency_ms.values()) == 10.0


@pytest.mark.parametrize("n", [1, 2, 3, 19, 20, 100])
def test_percentiles_are_of_the_nearest_rank(store, n):
    values = [float((7 * k) % n) for k in range(n)] if n % 7 else [float(k) for k in range(n)]
    store.add_predictions([row(k, k / 2, latency_ms=values[k]) for k in range(n)])
    (found, *_) = store.summarise("refusal", STEPS)
    for percent in (50, 95, 99):
        assert found.latency_ms[percent] == sorted(values)[math.ceil(n * percent / 100) - 1]


def test_a_full_step_is_counted_whole_and_summed_up_by_its_newest_rows(store):
    old = [row(k, k / 10, label="threat", latency_ms=99.0) for k in range(100)]
    store.add_predictions([*old, *[row(k, 30 + k / 10) for k in range(100, 150)]])
    (found, *_) = store.summarise("refusal", STEPS, most=50)
    assert (found.rows, found.sampled) == (150, 50)
    assert found.labels == {"safe": 50}
    assert set(found.latency_ms.values()) == {10.0}


def test_traffic_of_all_workers_is_summed(store):
    rows = [("a", 10, 5, 1), ("b", 20, 7, 0), ("a", 70, 2, 2)]
    store.add_traffic(
        [
            TrafficRow(worker=worker, seconds=5, requests=requests, errors=errors, at=NOON + timedelta(seconds=at))
            for worker, at, requests, errors in rows
        ]
    )
    assert store.summarise_traffic(STEPS) == [TrafficSummary(12, 1), TrafficSummary(2, 2), TrafficSummary()]


def test_feedback_is_counted(store):
    store.add_feedback(
        [
            FeedbackRow(request_id="r", task="refusal", label="safe", at=NOON + timedelta(hours=hour))
            for hour in range(3)
        ]
    )
    assert store.count_feedback(NOON + timedelta(hours=1)) == 2
    assert store.count_feedback(NOON, NOON + timedelta(hours=1)) == 1


def test_the_newest_flagged_come_first_and_shadows_never(store):
    rows = [row(k, k, is_flagged=k % 2 == 0, prompt="words " * 9, response=None) for k in range(10)]
    store.add_predictions([*rows, row(11, 11, is_flagged=True, is_shadow=True, arm="new")])
    found = store.newest_flagged(NOON, 3)
    assert [one.request_id for one in found] == ["r8", "r6", "r4"]
    assert {one.prompt for one in found} == {None}
    assert [one.prompt for one in store.newest_flagged(NOON, 1, excerpt=8)] == ["words wo"]
    assert store.newest_flagged(NOON + timedelta(seconds=9)) == []


def test_flagged_rows_are_looked_for_among_so_many(store):
    store.add_predictions([row(0, 0, is_flagged=True), *[row(k, k) for k in range(1, 9)]])
    assert store.newest_flagged(NOON, scan=8) == []
    assert len(store.newest_flagged(NOON, scan=9)) == 1


def test_a_database_that_is_away_is_said_so(tmp_path):
    with (
        open_store(f"sqlite:///{tmp_path / 'none' / 'demur.db'}") as store,
        pytest.raises(StoreUnavailableError, match="cannot be opened"),
    ):
        store.summarise("refusal", STEPS)
