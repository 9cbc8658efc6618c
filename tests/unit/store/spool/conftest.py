"""A spool, and a store of SQLite to drain it into."""

import pytest

from demur.store import Spool, open_store


@pytest.fixture
def spool(tmp_path):
    """A spool in a folder of its own."""
    with Spool(tmp_path / "spool") as opened:
        yield opened


@pytest.fixture
def database(tmp_path):
    """A migrated store on SQLite."""
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def broken():
    """A store whose database is not there."""
    with open_store("postgresql://127.0.0.1:1/nothing") as opened:
        yield opened
