"""Tests of the column types: what goes in comes out the same on both databases, or is refused."""

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import BadRowError
from demur.store._types import clean_json, clean_text

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40))
def test_cleaned_text_is_utf8_without_nul_and_as_long(text):
    cleaned = clean_text(text)
    assert b"\0" not in cleaned.encode("utf-8")
    assert len(cleaned) == len(text)
    assert clean_text(cleaned) == cleaned


@given(JSON_VALUES)
def test_cleaned_json_has_no_nan_and_is_cleaned_once(value):
    cleaned = clean_json(value)
    assert clean_json(cleaned) == cleaned
    assert "nan" not in repr(cleaned) or "nan" in repr(value)
    if isinstance(value, float):
        assert (cleaned is None) == (not math.isfinite(value))


def test_json_keeps_what_it_can_hold():
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": "é"}}
    assert clean_json(value) == value
    assert clean_json({1: (2, float("inf"))}) == {"1": [2, None]}


def test_a_time_of_another_zone_comes_back_as_the_same_moment_in_utc(store, prediction):
    at = datetime(2031, 5, 4, 23, 30, 0, 1, tzinfo=timezone(timedelta(hours=-7)))
    store.add_predictions([prediction(at=at)])
    (found,) = store.predictions()
    assert found.at == at
    assert found.at.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(store, prediction):
    with pytest.raises(BadRowError, match="has no zone"):
        store.add_predictions([prediction(at=datetime(2031, 5, 4))])  # noqa: DTZ001


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused(store, prediction, value):
    with pytest.raises(BadRowError, match="not a finite number"):
        store.add_predictions([prediction(threat_score=value)])


def test_texts_that_no_database_holds_are_stored_with_a_replacement(store, prediction):
    store.add_predictions([prediction(prompt="a\0b", response="c\ud800", probabilities={"x\0": math.nan})])
    (found,) = store.predictions()
    assert (found.prompt, found.response, found.probabilities) == ("a�b", "c�", {"x�": None})


def test_none_in_json_is_null_and_an_empty_mapping_is_not(store, prediction):
    store.add_predictions([prediction(1, threshold=None), prediction(2, threshold={})])
    assert [row.threshold for row in store.predictions()] == [None, {}]
