from datetime import UTC, datetime, timedelta

import pytest

from demur.config import parse_settings
from demur.serve.control import RetentionConfig, purge
from demur.store import DriftRunRow, FeedbackRow, PredictionRow

NOW = datetime(2031, 5, 4, tzinfo=UTC)


@pytest.fixture
def filled(store):
    """Predictions with texts and feedback, and drift runs, of 1, 10 and 100 days ago."""
    for days in (1, 10, 100):
        at = NOW - timedelta(days=days)
        values = {"task": "refusal", "model": "m", "version": "v", "label": "x", "probabilities": {"x": 1.0}}
        store.add_predictions(
            [PredictionRow(request_id=f"r{days}", threat_score=0.0, prompt="p", at=at, **values)]
        )
        store.add_feedback([FeedbackRow(request_id=f"r{days}", task="refusal", label="x", note="n", at=at)])
        store.add_drift_run(DriftRunRow(task="refusal", window={}, tests=[], is_drift=False, at=at))
    return store


def purged(store, **values):
    return purge(store, parse_settings(RetentionConfig, values), NOW)


def test_nothing_is_deleted_unless_asked(filled):
    assert purged(filled) == {}
    assert filled.counts()["predictions"] == 3


def test_records_go_by_age(filled):
    done = purged(filled, records_days=30)
    assert (done["predictions"], done["feedback"]) == (1, 1)
    assert [row.request_id for row in filled.predictions()] == ["r10", "r1"]


def test_texts_go_before_records(filled):
    assert purged(filled, texts_days=5, records_days=30)["texts"] == 4
    assert [row.prompt for row in filled.predictions()] == [None, "p"]


def test_history_has_an_age_of_its_own(filled):
    assert purged(filled, history_days=5)["drift_runs"] == 2
    assert filled.counts()["predictions"] == 3


def test_what_was_deleted_is_in_the_audit_log(filled):
    purged(filled, records_days=30)
    (line,) = filled.audit_log(act="retention.purge")
    assert line.facts["predictions"] == 1
    purged(filled, records_days=30)
    assert len(filled.audit_log(act="retention.purge")) == 1
