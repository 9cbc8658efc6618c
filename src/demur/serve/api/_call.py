"""What is known of the request that is being answered."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from demur.serve._identity import is_request_id
from demur.serve.api._keys import Caller

if TYPE_CHECKING:
    from starlette.requests import Request

KEY = "demur.call"
"""Where a request's scope holds it."""


@dataclass
class Call:
    """One request under way."""

    request_id: str
    """What the caller calls it, else one of ours."""
    given_id: str | None = None
    """What the caller calls it, if anything."""
    started: float = field(default_factory=time.monotonic)
    deadline: float = float("inf")
    """When, by ``time.monotonic``, it is answered 504."""
    caller: Caller = field(default_factory=Caller)
    answer_id: str | None = None
    """Under which its answer is recorded."""
    route: str = "unmatched"
    """The path of its route, with the names of parameters in place of their values."""
    items: int = 0
    status: int = 0

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.started


def new_call(given: str | None) -> Call:
    """A call by the header ``X-Request-Id``, if there is a valid one; what it says is otherwise ignored."""
    if given is not None and is_request_id(given):
        return Call(given, given)
    return Call(uuid.uuid4().hex)


def get_call(request: Request) -> Call:
    """The call of a request; a dependency for routes."""
    found: Any = request.scope[KEY]
    assert isinstance(found, Call)
    return found
