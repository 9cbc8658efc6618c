"""Tests of rows as JSON: they come back the same, and what cannot is refused at once."""

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import BadRowError, UsageError
from demur.store import FeedbackRow, PredictionRow
from demur.store.spool._codec import Entry, decode, encode, inserter

# JSON joins two halves of a pair into the one character they mean; each alone comes back.
TEXTS = st.text(alphabet=st.characters(exclude_categories=(), max_codepoint=0xDBFF) | st.characters(), max_size=20)
PREDICTIONS = st.builds(
    PredictionRow,
    request_id=TEXTS.filter(bool),
    task=TEXTS,
    model=TEXTS,
    version=TEXTS,
    label=TEXTS,
    probabilities=st.dictionaries(TEXTS, st.floats(0, 1), max_size=3),
    threat_score=st.floats(allow_nan=False),
    threshold=st.none() | st.dictionaries(TEXTS, st.floats(0, 1), max_size=2),
    is_flagged=st.none() | st.booleans(),
    prompt=st.none() | TEXTS,
    item=st.integers(0, 2**40),
    at=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])),
)


@given(st.lists(PREDICTIONS, max_size=3))
def test_predictions_come_back_the_same(rows):
    assert [decode(one) for one in encode("predictions", rows)] == rows


@given(st.builds(FeedbackRow, request_id=TEXTS, task=TEXTS, label=TEXTS, note=st.none() | TEXTS))
def test_feedback_comes_back_the_same(row):
    (entry,) = encode("feedback", [row])
    assert decode(entry) == row
    assert entry.body.isascii()


def test_every_field_is_written(prediction):
    (entry,) = encode("predictions", [prediction()])
    assert set(json.loads(entry.body)) == {one.name for one in dataclasses.fields(PredictionRow)}
    assert (entry.kind, entry.request_id) == ("predictions", "r0")


def test_a_kind_that_is_none_is_refused(prediction):
    with pytest.raises(UsageError, match="'prediction' is no kind of rows; did you mean 'predictions'"):
        encode("prediction", [prediction()])


def test_a_row_of_another_kind_is_refused(prediction):
    with pytest.raises(BadRowError, match="a PredictionRow was given as one of feedback; give a FeedbackRow"):
        encode("feedback", [prediction()])


def test_what_json_cannot_hold_is_refused_without_its_text(prediction):
    with pytest.raises(BadRowError, match=r"cannot be written as JSON \(TypeError\)") as caught:
        encode("predictions", [prediction(prompt={"a secret"})])
    assert "secret" not in str(caught.value)


def test_a_time_without_a_zone_is_refused(prediction):
    with pytest.raises(BadRowError, match="has no zone"):
        encode("predictions", [prediction(at=datetime(2031, 5, 4))])  # noqa: DTZ001


def test_a_probability_that_is_no_number_is_kept_until_it_is_stored(prediction):
    (entry,) = encode("predictions", [prediction(probabilities={"x": math.nan})])
    assert math.isnan(decode(entry).probabilities["x"])


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("verdicts", "{}", "of kind 'verdicts'"),
        ("feedback", "{", "other fields"),
        ("feedback", "[]", "other fields"),
        ("feedback", '{"at": 5}', "other fields"),
        ("feedback", '{"at": "2031-05-04T00:00:00+00:00", "new_field": 1}', "other fields"),
        ("feedback", "[" * 100000, "other fields"),
    ],
)
def test_what_another_version_wrote_is_told_apart(kind, body, said):
    with pytest.raises(BadRowError, match=said):
        decode(Entry(kind, "r", body))


def test_each_kind_goes_where_it_belongs(database, prediction, feedback):
    assert inserter("predictions", database)([prediction()]) == 1
    assert inserter("feedback", database)([feedback()]) == 1
    assert (len(database.predictions()), len(database.feedback())) == (1, 1)
