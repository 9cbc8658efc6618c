"""A store of each kind, and makers of rows."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from demur.store import FeedbackRow, PredictionRow, open_store
from demur.store._tables import TABLES

NOON = datetime(2031, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request):
    """Each kind of database: a SQLite file, and a real PostgreSQL server."""
    return request.param


@pytest.fixture
def empty_url(kind, request, tmp_path):
    """The address of an empty database of each kind."""
    return f"sqlite:///{tmp_path / 'empty.db'}" if kind == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("migrated") / "demur.db"
    with open_store(f"sqlite:///{path}") as store:
        store.migrate()
    return path


@pytest.fixture(scope="session")
def _migrated_database(_cluster):
    _cluster.start()
    _cluster.execute("CREATE DATABASE migrated TEMPLATE template0")
    with open_store(_cluster.url("migrated")) as store:
        store.migrate()
    return _cluster.url("migrated")


@pytest.fixture
def url(kind, request, tmp_path):
    """The address of a migrated database of each kind, with no row in it."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("_migrated_file"), tmp_path / "demur.db")
        yield f"sqlite:///{tmp_path / 'demur.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    yield request.getfixturevalue("_migrated_database")
    # Emptying one database costs a tenth of making another.
    server.start()
    server.execute(";".join(f"DELETE FROM {one.name}" for one in TABLES.values()), "migrated")


@pytest.fixture
def store(url):
    """A migrated store of each kind."""
    with open_store(url) as opened:
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
