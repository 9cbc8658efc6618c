"""A store of each kind, and makers of rows."""

from datetime import UTC, datetime, timedelta

import pytest

from demur.store import FeedbackRow, PredictionRow, open_store

NOON = datetime(2031, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The address of an empty database: a SQLite file, and a database of a real PostgreSQL server."""
    return (
        f"sqlite:///{tmp_path / 'demur.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    )


@pytest.fixture
def store(url):
    """A migrated store of each kind."""
    with open_store(url) as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def prediction():
    """Maker of predictions: ``prediction(3)`` is of request ``r3``, three minutes after noon."""

    def make(number=0, **values):
        defaults = {
            "request_id": f"r{number}",
            "task": "refusal",
            "model": "tfidf",
            "version": "v1",
            "label": "hard_refusal",
            "probabilities": {"no_refusal": 0.25, "hard_refusal": 0.75},
            "threat_score": 0.75,
            "prompt_chars": 10,
            "response_chars": 20,
            "latency_ms": 1.5,
            "at": NOON + timedelta(minutes=number),
        }
        return PredictionRow(**(defaults | values))

    return make


@pytest.fixture
def feedback():
    """Maker of feedback: ``feedback(3)`` is of request ``r3``."""

    def make(number=0, **values):
        defaults = {
            "id": f"f{number}",
            "request_id": f"r{number}",
            "task": "refusal",
            "label": "no_refusal",
            "at": NOON + timedelta(minutes=number),
        }
        return FeedbackRow(**(defaults | values))

    return make


@pytest.fixture
def noon():
    """The time the first row was made."""
    return NOON
