from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from demur.errors import DataError
from demur.serve.monitor._frame import (
    SCHEMA,
    answers_of,
    check_frame,
    is_acted_on,
    observe_rows,
    seconds_of,
    span_of,
    vectors_of,
)
from demur.store import InputSampleRow
from demur.tasks import REFUSAL

from .conftest import NOON, at, make_traffic

SPAN = (NOON - timedelta(days=1), NOON + timedelta(days=1))


def observe(store, limit=100, newest=True):
    return observe_rows(store, REFUSAL, answers_of("v1", newest), SPAN, limit)


def test_rows_come_in_order_of_time_with_their_samples(store, serve_rows):
    serve_rows(5)
    found = observe(store)
    assert dict(found.schema) == SCHEMA
    assert found["at"].to_list() == [at(second) for second in range(5)]
    assert found["language"].to_list() == ["en"] * 5
    assert vectors_of(found, ("prompt", "response")).shape == (5, 128)


def test_the_newest_or_the_first_are_kept(store, serve_rows):
    serve_rows(6)
    assert span_of(observe(store, 2)) == (at(4), at(5))
    assert span_of(observe(store, 2, newest=False)) == (at(0), at(1))


def test_shadows_and_other_versions_are_left_out(store, serve_rows):
    serve_rows(2)
    serve_rows(2, first=10, is_shadow=True)
    serve_rows(2, first=20, version="v2")
    assert len(observe(store)) == 2


def test_a_row_without_a_sample_has_no_sketch(store):
    predictions, samples = make_traffic(3)
    store.add_predictions(predictions)
    store.add_input_samples(samples[:1])
    found = observe(store)
    assert found["sketch"].null_count() == 2
    assert np.abs(vectors_of(found, ("response",))[1:]).max() == 0


def test_no_rows_are_an_empty_table(store):
    found = observe(store)
    assert (len(found), dict(found.schema)) == (0, SCHEMA)


def test_items_of_a_request_have_samples_of_their_own(store):
    (row,), (sample,) = make_traffic(1)
    second = InputSampleRow(request_id="r0", item=1, sketch="ngrams-1", language="fr", at=row.at)
    store.add_predictions([row])
    store.add_input_samples([sample, second])
    assert observe(store)["language"].to_list() == ["en"]


@pytest.mark.parametrize(
    ("values", "is_acted"),
    [
        ({"label": "hard_refusal", "is_flagged": None}, True),
        ({"label": "no_refusal", "is_flagged": None}, False),
        ({"label": "hard_refusal", "is_flagged": False}, False),
    ],
)
def test_what_is_flagged_counts_else_the_label(values, is_acted):
    (row,), _ = make_traffic(1, **values)
    assert is_acted_on(REFUSAL, row) is is_acted


def test_times_are_seconds_or_unknown(store, serve_rows):
    serve_rows(3)
    found = observe(store)
    assert seconds_of(found).tolist() == [NOON.timestamp() + one for one in range(3)]
    assert seconds_of(found.with_columns(at=pl.lit(None, SCHEMA["at"]))) is None


def test_a_table_of_other_columns_is_refused():
    with pytest.raises(DataError, match="take a new reference"):
        check_frame(pl.DataFrame({"label": ["a"]}), "it")
