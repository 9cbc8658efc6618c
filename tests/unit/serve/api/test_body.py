import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.serve.api import ApiError
from demur.serve.api._body import check_json, has_more_entries, is_deeper, parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(JSON, st.integers(0, 5))
def test_depth_is_counted_as_a_parser_would(value, most):
    assert is_deeper(json.dumps(value).encode(), most) == (depth_of(value) > most)


@pytest.mark.parametrize(
    ("body", "is_deep"),
    [
        (b'["' + b"[" * 99 + b'"]', False),
        (rb'["\"' + b"[" * 99 + b'"]', False),
        (rb'["\\"' + b"[" * 99, True),
        (b"[" * 3 + b"[]," * 99, True),
        (b"[]" * 99, False),
        (b"{" * 99, True),
    ],
)
def test_brackets_in_strings_do_not_count(body, is_deep):
    assert is_deeper(body, 3) is is_deep


@pytest.mark.parametrize(
    "body",
    [b"[" * 500_000 + b"]" * 500_000, b'"' * 1_000_000, b'"\\' * 500_000 + b"[" * 40, b"[{}]" * 250_000],
    ids=["deep", "quotes", "escapes", "wide"],
)
def test_a_large_body_is_looked_at_in_time_in_line_with_its_size(body):
    is_deeper(b"[" * 99, 3)
    started = time.process_time()
    is_deeper(body, 32)
    assert time.process_time() - started < 1


def commas_of(value):
    if isinstance(value, dict):
        return max(0, len(value) - 1) + sum(map(commas_of, value.values()))
    if isinstance(value, list):
        return max(0, len(value) - 1) + sum(map(commas_of, value))
    return 0


@given(JSON, st.integers(0, 8))
def test_entries_are_counted_as_a_parser_would(value, most):
    assert has_more_entries(json.dumps(value).encode(), most) == (commas_of(value) > most)


def test_a_body_of_many_entries_is_refused_and_a_text_with_many_commas_is_not():
    check_json(json.dumps(["a, b, c" * 1000, *range(4)]).encode(), "application/json", 8, 4)
    with pytest.raises(ApiError, match="more entries than so many items can have") as caught:
        check_json(json.dumps([*range(6)]).encode(), "application/json", 8, 4)
    assert caught.value.status == 422


def test_a_sound_body_passes():
    check_json(b' {"a": ["\xc3\xa9", 1.5, null]} ', "application/json; charset=utf-8", 8)
    check_json(b'{"a": "NaN and Infinity are words here"}', "application/vnd.demur+json", 8)


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
def test_another_type_is_refused(kind):
    with pytest.raises(ApiError, match="send it with Content-Type: application/json") as caught:
        check_json(b"{}", kind, 8)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "is not UTF-8"),
        (b"[" * 9, "nested deeper than 8 levels"),
        (b'{"a": NaN}', "NaN and infinite numbers are none"),
        (b'{"a": -Infinity}', "NaN and infinite numbers are none"),
    ],
)
def test_what_is_no_sound_json_is_refused(body, said):
    with pytest.raises(ApiError, match=said) as caught:
        check_json(body, "application/json", 8)
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"{", b"[1,]", b"1e999", b"NaN", b'{"a": 1} x', b"9" * 5000, b'"\x00"'])
def test_what_cannot_be_parsed_is_refused(body):
    with pytest.raises(ApiError, match="is no JSON"):
        parse_json(body)


@given(JSON)
def test_what_can_be_parsed_is_parsed(value):
    assert parse_json(json.dumps(value).encode()) == value
