"""Tests of the store as a whole."""

import pytest

from demur.errors import StoreUnavailableError
from demur.store import open_store


def test_a_store_that_was_closed_opens_again_when_it_is_used(store, prediction):
    store.add_predictions([prediction()])
    store.close()
    assert len(store.predictions()) == 1


def test_a_migration_may_be_repeated(store, prediction):
    store.add_predictions([prediction()])
    store.migrate()
    assert store.counts()["predictions"] == 1


def test_a_database_that_answers_is_up_and_another_is_not(store):
    store.ping()
    other = open_store("postgresql://127.0.0.1:1/nothing")
    with other, pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1/nothing does not answer"):
        other.ping()
