"""Tests of what the parts share: transactions are whole, insertion may be repeated."""

import multiprocessing
import threading

import pytest

from demur.errors import StoreUnavailableError
from demur.store import PredictionRow
from demur.store._base import as_values
from demur.store._tables import PREDICTIONS


def test_the_values_of_a_row_are_its_fields_by_name(prediction):
    row = prediction()
    values = as_values(row)
    assert PredictionRow(**values) == row
    assert values["probabilities"] is row.probabilities


def test_a_transaction_that_fails_leaves_nothing(store, prediction):
    def fail():
        with store._write() as connection:
            assert store._insert(connection, PREDICTIONS, [as_values(prediction())]) == 1
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert store.predictions() == []


def test_inserting_nothing_is_no_statement(store):
    with store._write() as connection:
        assert store._insert(connection, PREDICTIONS, []) == 0


def test_threads_share_a_store(store, prediction):
    """Each row is given by four threads; one of them stores it."""
    new, failed = [], []

    def add(first):
        try:
            new.extend(store.add_predictions([prediction(number)]) for number in range(first, first + 20))
        except StoreUnavailableError as error:
            failed.append(error)

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 0, 10, 10)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    assert sum(new) == len(store.predictions()) == 30


def test_a_forked_process_makes_connections_of_its_own(store, prediction):
    """Sharing the parent's would mix the answers of the two."""
    store.add_predictions([prediction(0)])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def child():
        queue.put([store.add_predictions([prediction(number)]) for number in range(10)])

    forked = context.Process(target=child)
    forked.start()
    found = [store.add_predictions([prediction(100 + number)]) for number in range(10)]
    assert queue.get(timeout=120) == [0] + [1] * 9
    forked.join()
    assert found == [1] * 10
    assert store.counts()["predictions"] == 20
