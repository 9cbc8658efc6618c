import json

import pytest

from demur.errors import (
    ArtifactError,
    SpoolFullError,
    StorageError,
    StoreError,
    StoreUnavailableError,
    UnknownRowError,
    UsageError,
)
from demur.serve.api import ApiError
from demur.serve.api._errors import TYPES, describe_error, describe_faults, error_body, from_demur
from demur.serve.batching import QueueFullError


def test_every_error_has_one_shape():
    body = json.loads(ApiError(422, "too long", "input").body("some-id"))
    told = {"type": "invalid_request", "message": "too long", "param": "input", "request_id": "some-id"}
    assert body == {"error": told}


@pytest.mark.parametrize("status", [418, 599])
def test_a_status_that_is_not_known_has_a_type_all_the_same(status):
    assert json.loads(error_body(status, "x", None, "id"))["error"]["type"] in TYPES.values()


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (QueueFullError(7, 3.0), 429, "3"),
        (SpoolFullError("full"), 503, "5"),
        (StorageError("full"), 503, "5"),
        (StoreUnavailableError("down"), 503, "5"),
        (UnknownRowError("no such row"), 404, None),
        (StoreError("not any more"), 409, None),
        (UsageError("wrong"), 422, None),
        (ArtifactError("damaged"), 500, None),
    ],
)
def test_errors_of_demur_have_the_status_that_says_what_to_do(error, status, header):
    found = from_demur(error)
    assert (found.status, found.headers.get("Retry-After")) == (status, header)


def test_what_fails_inside_is_not_told():
    assert "damaged" not in from_demur(ArtifactError("damaged: in /srv/model")).message


@pytest.mark.parametrize(
    ("fault", "message", "param"),
    [
        ({"type": "missing", "loc": ("input",), "msg": ""}, "input is missing; give it", "input"),
        ({"type": "missing", "loc": (), "msg": ""}, "the body is missing; give it", None),
        (
            {"type": "string_type", "loc": ("input", 3, "prompt"), "msg": ""},
            "input.3.prompt must be a text",
            "input.3.prompt",
        ),
        (
            {"type": "string_type", "loc": ("input", "Item", "prompt"), "msg": ""},
            "input.prompt must be a text",
            "input.prompt",
        ),
        ({"type": "string_type", "loc": ("input", "str"), "msg": ""}, "input must be a text", "input"),
        (
            {"type": "value_error", "loc": ("input",), "msg": "Value error, needs a prompt"},
            "input needs a prompt",
            "input",
        ),
        ({"type": "json_invalid", "loc": (), "msg": "at line 1"}, "the body is no JSON", None),
        ({"type": "something_new", "loc": ("a",), "msg": "secret text"}, "a is not valid", "a"),
        ({"type": "missing", "loc": ("body", "a"), "msg": ""}, "a is missing; give it", "a"),
    ],
)
def test_a_fault_is_described_without_what_was_sent(fault, message, param):
    assert describe_faults([fault], "body") == (message, param)


def test_a_key_that_somebody_made_up_is_not_repeated():
    fault = {"type": "extra_forbidden", "loc": ("input", "how do i do something bad"), "msg": "no extras"}
    assert describe_faults([fault]) == ("input has a key that is not known; leave it out", "input")


def test_an_error_is_described_by_type_and_place():
    def fail():
        raise ValueError("a text of a user")

    try:
        fail()
    except ValueError as error:
        found = describe_error(error)
    assert found["error"] == "ValueError"
    assert found["where"][-1].startswith("test_errors.py:")
    assert "a text of a user" not in str(found)
