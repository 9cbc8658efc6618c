"""Routes that let nobody in unasked: each says which scope it takes, and one that says nothing takes ``admin``.

In order: who asks, how often, how much, then what. A body is read within its limit and known to be sound JSON
before any route sees it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, get_type_hints

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from demur.errors import DemurError
from demur.serve.api._body import check_json, parse_json, read_body
from demur.serve.api._call import Call, get_call
from demur.serve.api._errors import ApiError, describe_error, describe_faults, from_demur
from demur.serve.api._keys import ACCESS, needs
from demur.serve.api._rate import name_address

if TYPE_CHECKING:
    from demur.serve.api._keys import Caller
    from demur.serve.api._parts import Parts

_LOG = logging.getLogger(__name__)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_LARGE = 65_536
"""Bytes of a body that is looked at in a thread, so that other requests go on meanwhile."""
_PUBLIC = {"public", "metrics"}


class GuardRoute(APIRoute):
    """A route whose key, rate and body are looked at before it is called."""

    @property
    def access(self) -> dict[str, Any]:
        """What it takes to be called."""
        told: dict[str, Any] = (self.openapi_extra or {}).get(ACCESS) or needs("admin")[ACCESS]
        return told

    def get_route_handler(self) -> Handler:
        """What answers a request."""
        inner, path = self.make_handler(), self.path

        async def handle(request: Request) -> Response:
            call, parts = get_call(request), request.app.state.parts
            call.route = path
            await self._admit(request, call, parts)
            try:
                return await inner(request)
            except DemurError as error:
                found = from_demur(error)
                if found.status == 500:
                    _LOG.error("failed", extra={"facts": {"request_id": call.request_id, **describe_error(error)}})
                raise found from error

        return handle

    async def identify(self, request: Request, parts: Parts) -> Caller:
        """Who asks, where they may; by the key in the header unless a route knows another way."""
        return await parts.gate.admit(request.headers, self.access)

    async def _admit(self, request: Request, call: Call, parts: Parts) -> None:
        """Know who asks, and that they do not ask too often."""
        caller = call.caller = await self.identify(request, parts)
        limits = parts.config.limits
        rate = caller.rate_per_s or limits.rate_per_s
        if self.access["scope"] in _PUBLIC or rate is None:
            return
        who = caller.key_id or f"address {name_address(request.client.host if request.client else '')}"
        wait_s = parts.buckets.take(who, rate, limits.burst_s)
        if wait_s > 0:
            raise ApiError(
                429,
                f"more than {rate:g} requests a second; slow down",
                headers={"Retry-After": str(max(1, -int(-wait_s // 1)))},
            )

    def make_handler(self) -> Handler:
        """The route's own part: FastAPI's, once the body is read and known to be sound."""
        plain = super().get_route_handler()
        if self.body_field is None:
            return plain

        async def handle(request: Request) -> Response:
            limits = request.app.state.parts.config.limits
            try:
                async with asyncio.timeout(limits.timeout_s):
                    body = await _read_sound_body(request)
            except TimeoutError:
                raise _too_late() from None
            request._body = body  # what FastAPI would read; it parses no other than this
            request._json = parse_json(body)
            return await plain(request)

        return handle


class QuickRoute(GuardRoute):
    """A route that takes a body and nothing else, ``endpoint(body, request)``: without FastAPI's own machinery.

    The body is parsed and checked in one go by pydantic, and the whole has one deadline.
    """

    def make_handler(self) -> Handler:
        """Read, check, and answer in time."""
        endpoint = self.endpoint
        adapter: TypeAdapter[Any] = TypeAdapter(get_type_hints(endpoint)["body"])

        async def handle(request: Request) -> Response:
            call, limits = get_call(request), request.app.state.parts.config.limits
            call.deadline = call.started + limits.timeout_s
            has_body = False
            try:
                async with asyncio.timeout(call.deadline - time.monotonic()):
                    raw = await _read_sound_body(request)
                    has_body = True
                    body = await _validate(adapter, raw)
                    answer: Response = await endpoint(body, request)
                    return answer
            except TimeoutError:
                if not has_body:
                    raise _too_late() from None
                raise ApiError(
                    504, f"no answer within {limits.timeout_s:g} s; send fewer items or try later"
                ) from None

        return handle


def guard_router(prefix: str = "", tags: list[str] | None = None, *, quick: bool = False) -> APIRouter:
    """A router whose routes are guarded; give each ``openapi_extra=needs(scope)``, else it takes ``admin``.

    Parameters
    ----------
    quick
        Of :class:`QuickRoute`.
    """
    given: list[Any] = list(tags or [])
    return APIRouter(prefix=prefix, tags=given, route_class=QuickRoute if quick else GuardRoute)


async def _read_sound_body(request: Request) -> bytes:
    limits = request.app.state.parts.config.limits
    kind = request.headers.get("content-type")
    body = await read_body(request, limits.max_body_bytes)
    if len(body) < _LARGE:
        check_json(body, kind, limits.max_depth, limits.max_entries)
    else:
        await asyncio.to_thread(check_json, body, kind, limits.max_depth, limits.max_entries)
    return body


def _too_late() -> ApiError:
    return ApiError(408, "the body did not arrive in time", headers={"Connection": "close"})


async def _validate(adapter: TypeAdapter[Any], body: bytes) -> Any:
    if len(body) < _LARGE:
        return _parse(adapter, body)
    return await asyncio.to_thread(_parse, adapter, body)


def _parse(adapter: TypeAdapter[Any], body: bytes) -> Any:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
    message, param = describe_faults(faults)
    raise ApiError(400 if faults[0]["type"] == "json_invalid" else 422, message, param)
