"""Bodies of requests: read within their limit, and known to be flat JSON in UTF-8 before they are parsed."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from demur.serve.api._errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The bytes of a body.

    Raises
    ------
    ApiError
        It is larger than allowed (413), or the client went away.
    """
    from starlette.requests import ClientDisconnect

    told = request.headers.get("content-length")
    if told is not None and told.isdecimal() and (len(told) > 18 or int(told) > max_bytes):
        raise _too_large(max_bytes)
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                raise _too_large(max_bytes)
            parts.append(part)
    except ClientDisconnect:
        raise ApiError(400, "the client went away before its body was there") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def check_json(body: bytes, content_type: str | None, max_depth: int, max_entries: int = 10_000) -> None:
    """Refuse what is no JSON in UTF-8, nested deeper or of more parts than allowed; in time in line with its size.

    What is wrong with each part of a body takes far more time and memory to say than the part itself.

    Raises
    ------
    ApiError
        Another type (415), no UTF-8, empty or too deep (400), more commas between values than allowed (422).
    """
    if content_type is None or not _JSON.fullmatch(content_type.strip()):
        raise ApiError(415, "the body must be JSON; send it with Content-Type: application/json")
    if not body.strip():
        raise ApiError(400, "the body is empty; send a JSON object")
    if not body.isascii():
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            raise ApiError(400, "the body is not UTF-8; encode it as UTF-8") from None
    if is_deeper(body, max_depth):
        raise ApiError(400, f"the body is nested deeper than {max_depth} levels; make it flatter")
    if has_more_entries(body, max_entries):
        raise ApiError(422, "the body has more entries than so many items can have; send fewer, in parts")
    if b"NaN" in body or b"Infinity" in body:  # pydantic would take them as numbers; within a text they are fine
        parse_json(body)


def is_deeper(body: bytes, max_depth: int) -> bool:
    """Whether brackets are nested deeper than so many levels; brackets in strings do not count."""
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return False
    import numpy as np

    steps = np.zeros(256, dtype=np.int8)
    steps[[ord("["), ord("{")]], steps[[ord("]"), ord("}")]] = 1, -1
    found, is_outside = _outside_strings(body)
    return bool(np.cumsum(steps[found] * is_outside, dtype=np.int32).max(initial=0) > max_depth)


def has_more_entries(body: bytes, most: int) -> bool:
    """Whether there are more commas than so many; those in strings do not count."""
    if body.count(b",") <= most:
        return False
    import numpy as np

    found, is_outside = _outside_strings(body)
    return int(np.count_nonzero((found == ord(",")) & is_outside)) > most


def _outside_strings(body: bytes) -> tuple[Any, Any]:
    """Bytes without escapes, and whether each stands outside of strings; both ``(n,)``."""
    import numpy as np

    # Without escaped quotes every quote begins or ends a string.
    found = np.frombuffer(body.replace(rb"\\", b"").replace(rb"\"", b""), dtype=np.uint8)
    return found, np.cumsum(found == ord('"'), dtype=np.int32) % 2 == 0


def parse_json(body: bytes) -> Any:
    """The value of a body that was checked.

    Raises
    ------
    ApiError
        It is no JSON, or holds NaN or an infinite number (400).
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is no JSON (NaN and infinite numbers are none)") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("infinite")
    return value


def _too_large(max_bytes: int) -> ApiError:
    # What was not read would be taken for the next request.
    return ApiError(
        413,
        f"the body is larger than {max_bytes} bytes; send fewer or shorter items",
        headers={"Connection": "close"},
    )
