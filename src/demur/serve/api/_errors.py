"""Errors of the API: one shape, the right status, and never a text of a user in them."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from demur.errors import DemurError

TYPES: Mapping[int, str] = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
    504: "timeout",
}
"""Status to the type that a body names."""
_OWN_WORDS = {
    "missing": "is missing; give it",
    "string_type": "must be a text",
    "string_too_long": "is too long",
    "string_too_short": "is too short",
    "string_pattern_mismatch": "has not the form it must have",
    "string_unicode": "is no valid Unicode (a lone surrogate?)",
    "too_long": "has too many entries",
    "too_short": "has too few entries",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "literal_error": "is none of the values it may have",
    "enum": "is none of the values it may have",
}
"""Kinds of faults to what is said of them: pydantic's own words can hold what was sent."""
_LONGEST_NAME = 64


class ApiError(Exception):
    """An answer that is no success.

    Parameters
    ----------
    status
        Of HTTP.
    message
        What was found and what to do; never a text of a user.
    param
        The key of the request that is at fault.
    headers
        Further headers, such as ``Retry-After``.
    """

    def __init__(
        self, status: int, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> bytes:
        """What is sent."""
        return error_body(self.status, self.message, self.param, request_id)


def error_body(status: int, message: str, param: str | None, request_id: str) -> bytes:
    """``{"error": {...}}`` as bytes."""
    kind = TYPES.get(status, "invalid_request" if status < 500 else "internal")
    told = {"type": kind, "message": message, "param": param, "request_id": request_id}
    return json.dumps({"error": told}, ensure_ascii=False).encode()


def describe_faults(faults: Sequence[Mapping[str, Any]], where: str = "") -> tuple[str, str | None]:
    """What is wrong with a body, and the key at fault; of several the one that lies deepest.

    Parameters
    ----------
    faults
        As pydantic lists them.
    where
        Left out in front of the key, such as ``body``.
    """
    first = max(faults, key=lambda fault: len(fault["loc"]))  # of alternatives, the one that went furthest
    kind = str(first["type"])
    path = [part for part in first["loc"] if part != where]
    if kind == "extra_forbidden":  # the key itself is whatever somebody sent
        place = _shown(path[:-1])
        return f"{place or 'the body'} has a key that is not known; leave it out", place or None
    place = _shown(path)
    if kind == "json_invalid":
        return "the body is no JSON", None
    words = _OWN_WORDS.get(kind)
    if words is None:
        words = str(first["msg"]).removeprefix("Value error, ") if kind == "value_error" else "is not valid"
    return f"{place or 'the body'} {words}", place or None


def _shown(path: Sequence[Any]) -> str:
    """A place in a body; names that pydantic gives its alternatives, and long keys, are left out."""
    parts = []
    for part in path:
        if isinstance(part, int):
            parts.append(str(part))
        elif part.isidentifier() and part == part.lower() and part != "str" and len(part) <= _LONGEST_NAME:
            parts.append(part)
    return ".".join(parts)


def from_demur(error: DemurError) -> ApiError:
    """What an error of demur is to a caller of the API."""
    from demur.errors import (
        SpoolFullError,
        StorageError,
        StoreError,
        StoreUnavailableError,
        UnknownRowError,
        UsageError,
    )
    from demur.serve.batching import QueueFullError

    if isinstance(error, QueueFullError):
        return ApiError(429, str(error), headers={"Retry-After": f"{error.retry_after_s:.0f}"})
    if isinstance(error, SpoolFullError | StorageError | StoreUnavailableError):
        return ApiError(503, "the answer cannot be recorded now; try again later", headers={"Retry-After": "5"})
    if isinstance(error, UnknownRowError):
        return ApiError(404, str(error))
    if isinstance(error, StoreError):
        return ApiError(409, str(error))
    if isinstance(error, UsageError):
        return ApiError(422, str(error))
    return ApiError(500, "something failed that should not have; the log tells more under the request id")


def describe_error(error: BaseException) -> dict[str, Any]:
    """Type and place of an error; its message, which can hold what a user sent, is left out."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "where": where}
