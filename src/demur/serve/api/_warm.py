"""Waiting for models that are still loading: before that nobody can say what is served."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from demur.serve.api._errors import ApiError

if TYPE_CHECKING:
    from demur.serve.api._call import Call
    from demur.serve.api._parts import Parts

_SPARE_S = 0.1
"""So much before its deadline a request is told that the models are loading."""


async def wait_until_warm(parts: Parts, call: Call) -> None:
    """Come back when every model is loaded; at once, mostly.

    Raises
    ------
    ApiError
        503; they still load when the time of the request is nearly over.
    """
    if not parts.warm.is_set():
        try:
            await asyncio.wait_for(parts.warm.wait(), max(0.0, call.deadline - _SPARE_S - time.monotonic()))
        except TimeoutError:
            raise ApiError(503, "the models are still loading; try again", headers={"Retry-After": "2"}) from None
