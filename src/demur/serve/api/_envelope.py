"""What surrounds every request: its id, headers, a log line, figures, and an end without traceback."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from demur.serve.api._call import KEY, Call, new_call
from demur.serve.api._errors import describe_error, error_body

if TYPE_CHECKING:
    from demur.serve.api._parts import Parts

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_LOG = logging.getLogger("demur.serve.request")
_QUIET = ("/healthz", "/readyz", "/metrics")
"""Routes that are asked every few seconds: no line where all is well."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Sent unless a route sends its own."""


class Envelope:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app
        The application.
    parts
        What the server is made of.
    """

    def __init__(self, app: Any, parts: Parts) -> None:
        self._app, self._parts = app, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = scope[KEY] = new_call(_header(scope, b"x-request-id"))
        metrics = self._parts.metrics
        metrics.begin()
        try:
            await self._answer(call, scope, receive, send)
        finally:
            metrics.end(call, scope["method"])
            self._log(call, scope["method"])

    async def _answer(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                self._add_headers(message, call)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # whatever it is, the caller gets no traceback
            _LOG.error("failed", extra={"facts": {"request_id": call.request_id, **describe_error(error)}})
            if call.status:
                raise ConnectionError("the answer had begun") from None
            await _send_failure(call, send_with_headers)

    def _add_headers(self, message: Message, call: Call) -> None:
        headers = message["headers"] = list(message.get("headers", ()))
        known = {name.lower() for name, _ in headers}
        headers.append((b"x-request-id", call.request_id.encode()))
        headers += [(name, value) for name, value in _HEADERS if name not in known]
        if self._parts.is_draining and b"connection" not in known:
            headers.append((b"connection", b"close"))

    def _log(self, call: Call, method: str) -> None:
        level = logging.DEBUG if call.route in _QUIET and call.status == 200 else logging.INFO
        if self._parts.config.log.access and _LOG.isEnabledFor(level):
            facts = {
                "request_id": call.request_id,
                "answer_id": call.answer_id,
                "method": method,
                "route": call.route,
                "status": call.status,
                "ms": round(1000 * call.seconds, 2),
                "key": call.caller.key_id,
                "items": call.items,
            }
            _LOG.log(level, "request", extra={"facts": facts})


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


async def _send_failure(call: Call, send: Send) -> None:
    body = error_body(
        500,
        "something failed that should not have; the log tells more under the request id",
        None,
        call.request_id,
    )
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
