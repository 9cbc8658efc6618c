"""Snapshots of stores that were filled once, and an application that shows them."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.dashboards import fill_hostile, fill_store
from tests.unit.serve.api.conftest import error_of, make_guard  # noqa: F401

from demur.serve.dashboard import DashboardConfig
from demur.serve.dashboard._gather import Snapshot, gather
from demur.serve.dashboard._local import Counted, LoadedModel, LocalFacts
from demur.serve.dashboard._span import SPANS
from demur.store import open_store

NOON = datetime(2031, 5, 4, 12, 0, 0, tzinfo=UTC)
LOCAL = LocalFacts(
    version="1.2.3",
    status="ready",
    models=[LoadedModel("rules", "v1", ["refusal"], "native", 3)],
    problems={},
    spool=None,
    counted=Counted(requests=12, errors=1, refused=2, mean_ms=8.5),
    database="sqlite:///guard.db",
    records="durable",
    texts="hashed",
    is_monitored=True,
)


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory):
    """A store as a busy guard leaves it at noon; nobody may write into it."""
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('filled') / 'demur.db'}") as store:
        store.migrate()
        fill_store(store, NOON, requests=200, texts=True, subjects=260)
        yield store


@pytest.fixture(scope="session")
def filled(filled_store):
    """What is shown of it for a day."""
    return gather(filled_store, DashboardConfig(), SPANS["day"], NOON, ["refusal"], has_texts=True)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """What is shown of a store full of texts that would harm a careless page."""
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'demur.db'}") as store:
        store.migrate()
        fill_hostile(store, NOON)
        yield gather(store, DashboardConfig(), SPANS["hour"], NOON + timedelta(seconds=5), [], has_texts=True)


@pytest.fixture
def empty():
    """What is shown of a store in which nothing is yet."""
    span = SPANS["hour"]
    return Snapshot(NOON, span, span.steps(NOON))


@pytest.fixture
def local():
    """What a worker knows."""
    return LOCAL
