"""``/healthz``, ``/readyz`` and ``/metrics``: what a supervisor, a load balancer and Prometheus ask."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from demur.errors import DemurError
from demur.serve.api._classify import json_response
from demur.serve.api._keys import needs
from demur.serve.api._parts import Parts
from demur.serve.api._route import guard_router
from demur.serve.api._schemas import error_responses

_KEEP_S = 1.0
_LEAST_FREE_BYTES = 16 * 2**20
_SHOWN: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}
}


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests should come here."""

    status: Literal["ready", "warming", "draining", "records"] = Field(
        description="records: answers cannot be recorded now, and must be."
    )


class Room:
    """Looks at the spool once a second at most."""

    def __init__(self) -> None:
        self._at, self._accepts = float("-inf"), True

    async def accepts(self, parts: Parts) -> bool:
        """Whether the spool takes rows, or need not."""
        if parts.recorder.mode != "durable":
            return True
        if time.monotonic() - self._at > _KEEP_S:
            self._at = time.monotonic()  # others go by what was seen last meanwhile
            self._accepts = await asyncio.to_thread(_has_room, parts)
        return self._accepts


def make_router() -> APIRouter:
    """The routes."""
    router = guard_router("", ["operation"])
    room, one = Room(), asyncio.Lock()

    async def ready(request: Request) -> Response:
        """Say whether every model is warm and answers can be recorded."""
        parts = request.app.state.parts
        status = "ready"
        if parts.is_draining:
            status = "draining"
        elif not parts.warm.is_set():
            status = "warming"
        elif not await room.accepts(parts):
            status = "records"
        return json_response({"status": status}, 200 if status == "ready" else 503)

    async def show_metrics(request: Request) -> Response:
        """Show figures of all workers in Prometheus' text format."""
        metrics = request.app.state.parts.metrics
        async with one:  # adding up takes a while: however many ask, it never takes more than one thread
            return Response(await asyncio.to_thread(metrics.show), media_type=metrics.content_type)

    router.add_api_route(
        "/healthz", healthy, methods=["GET"], response_model=Health, openapi_extra=needs("public")
    )
    router.add_api_route(
        "/readyz",
        ready,
        methods=["GET"],
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Not now."}},
        openapi_extra=needs("public"),
    )
    router.add_api_route(
        "/metrics",
        show_metrics,
        methods=["GET"],
        response_class=Response,
        responses=error_responses(401, 403, 503) | _SHOWN,
        openapi_extra=needs("metrics"),
    )
    return router


async def healthy() -> Health:
    """Say that the process answers."""
    return Health()


def _has_room(parts: Parts) -> bool:
    """Whether the spool takes more, and its disk too."""
    try:
        free = shutil.disk_usage(parts.spool.folder).free
        return parts.spool.stats().bytes < parts.spool.max_bytes and free > _LEAST_FREE_BYTES
    except FileNotFoundError:  # made with the first row
        return True
    except (DemurError, OSError):
        return False
