"""The world that is retrained in, stores, and orders of single steps."""

from datetime import timedelta

import pytest
from tests.retraining import NOON, TASK, World, wait_until

from demur.config import parse_settings
from demur.serve.retrain import Order, TaskConfig
from demur.store import open_store


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Files, and a champion that was trained on them."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def url(tmp_path):
    """The address of a SQLite file."""
    return f"sqlite:///{tmp_path / 'demur.db'}"


@pytest.fixture
def store(url):
    """A migrated store."""
    with open_store(url) as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def order(world, url, tmp_path):
    """Maker of the order of one step: ``order("gathering", labels={...})`` changes settings."""

    def make(work="gathering", **changes):
        return Order(
            id="r1",
            work=work,
            task=TASK,
            folder=tmp_path / "runs" / "r1",
            models=tmp_path / "models",
            settings=parse_settings(TaskConfig, world.settings(**changes)),
            database=url,
            at=NOON + timedelta(days=1),
            champion=str(world.champion),
            champion_version=world.row().version,
        )

    return make


@pytest.fixture
def until():
    """Waits until a claim is true."""
    return wait_until
