"""The HTTP protocol of a connection: uvicorn's, with bounds on what comes before a request is anybody's.

A head (request line and headers) has most so many bytes and arrives within a time; what is no HTTP is answered in
the shape of all errors. All of this is before any key is looked at, so none of it may cost much.
"""

from __future__ import annotations

import asyncio
import resource
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from demur.serve.api._errors import error_body

MAX_HEAD_BYTES = 32_768
"""Of a request line with its headers; also of what surrounds the parts of a chunked body, above its size."""
_PER_BODY_BYTE = 8
"""Bytes that a chunked body may have around each byte of its own."""
_MOST_FILES = 65_536
_OTHER_FILES = 256
"""What a worker opens beside its connections: models, the spool, the database."""
_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class GuardProtocol(HttpToolsProtocol):
    """One connection.

    Parameters
    ----------
    head_s
        Seconds from a connection's or a head's beginning until the head must be there.
    most
        Connections of the process; who comes when there are as many is refused at once.
    """

    def __init__(self, *args: Any, head_s: float, most: int, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._head_s, self._most = head_s, most
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_in_head = self._is_idle = False
        self._around = self._body = 0
        """Bytes of the request so far: all others than those of its body, and those."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is there; it must say something."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            self._refuse(503, "the server has as many connections as it may; try again later")
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Look at what came, if it is not too much; where nothing is being answered, more must come in time."""
        self._is_idle = False
        self._around += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._stop_timer()
        elif self._around > MAX_HEAD_BYTES + _PER_BODY_BYTE * self._body:
            self._refuse(431, f"the head of a request may have {MAX_HEAD_BYTES} bytes; send shorter headers")
        elif self.cycle is None or self.cycle.response_complete:
            if self._is_idle:  # a body that nobody wanted has ended
                self._unset_keepalive_if_required()
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
            else:
                self._start_timer()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_in_head, self._is_idle = True, False

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._is_in_head, self._around, self._body = False, 0, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those behind a chunked body are nobody's."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._around -= len(body)
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        super().on_message_complete()
        self._is_idle, self._around, self._body = True, 0, 0
        self._stop_timer()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, "this is no request of HTTP/1.1; send one")

    def _refuse(self, status: int, message: str) -> None:
        """Answer without having understood, and close; not in the middle of an answer."""
        self._stop_timer()
        if self.cycle is None or self.cycle.response_complete:
            request_id = uuid.uuid4().hex
            body = error_body(status, message, None, request_id)
            head = (
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
                b"cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head % (status, _PHRASES[status], len(body), request_id.encode()) + body)
        self.transport.close()

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_s, self._on_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_late(self) -> None:
        """The head is not there in time; the answer to a request before it is still waited for."""
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_timer()
        elif self._around:
            self._refuse(408, "the head of the request did not arrive in time")
        else:
            self.transport.close()


def make_protocol(head_s: float, most: int) -> type[asyncio.Protocol]:
    """What uvicorn takes as ``http``."""
    made: Callable[..., GuardProtocol] = partial(GuardProtocol, head_s=head_s, most=most)
    return cast("type[asyncio.Protocol]", made)


def allow_connections(wanted: int) -> int:
    """Let this process have so many connections, if the system does; how many it may have.

    The limit on open files is raised for them; files for what a worker opens besides are kept free.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < files:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - _OTHER_FILES))
