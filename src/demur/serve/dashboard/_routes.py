"""``/dashboard`` with its log-in and log-out."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from demur.errors import DemurError
from demur.serve.api import Parts, error_responses, needs
from demur.serve.dashboard._gather import Snapshot, gather
from demur.serve.dashboard._local import look_around
from demur.serve.dashboard._page import Asked, Seen, draw_login, draw_page
from demur.serve.dashboard._route import (
    LOGIN,
    LoginRoute,
    PageRoute,
    caller_id,
    end_path,
    is_open,
    kept_query,
)
from demur.serve.dashboard._session import PATH, Sessions, end_session, is_secure
from demur.serve.dashboard._shared import SharedSnapshots
from demur.serve.dashboard._span import SPANS, SpanName

_LOG = logging.getLogger(__name__)
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {}}, "description": "The page."},
    303: {"description": "A browser without a session is sent to the form."},
}
_WORDS = {"ended": "The session has ended. Log in again.", "out": "You are logged out."}


def router(parts: Parts) -> APIRouter:
    """The routes; the page takes a key of scope ``admin``, or a session that began with one.

    Parameters
    ----------
    parts
        Of the application that includes them.
    """
    desk, made = _Desk(parts), APIRouter(tags=["operation"], route_class=PageRoute)
    if not parts.config.dashboard.enabled:
        return made
    made.add_api_route(
        PATH,
        desk.show,
        methods=["GET"],
        response_class=Response,
        responses=error_responses(401, 403, 422, 429, 503) | _PAGE,
        openapi_extra=needs("admin"),
    )
    hidden: dict[str, Any] = {"include_in_schema": False, "response_class": Response}
    made.add_api_route(LOGIN, desk.show_login, methods=["GET"], openapi_extra=needs("public"), **hidden)
    made.add_api_route(f"{PATH}/logout", desk.log_out, methods=["POST"], openapi_extra=needs("admin"), **hidden)
    forms = APIRouter(route_class=LoginRoute)
    forms.add_api_route(LOGIN, desk.log_in, methods=["POST"], openapi_extra=needs("admin"), **hidden)
    made.routes.extend(forms.routes)
    return made


class _Desk:
    """Does what is asked for; its methods are the endpoints."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._config = parts, parts.config.dashboard
        self._sessions = Sessions(parts.identity, self._config)
        self._shared = SharedSnapshots(self._read, self._config)

    async def show(
        self,
        request: Request,
        span: Annotated[SpanName, Query(description="How far back.")] = "hour",
        refresh: Annotated[
            Literal["30", "60", "300"] | None, Query(description="Seconds until it loads itself again.")
        ] = None,
    ) -> Response:
        """Show the dashboard."""
        session = getattr(request.state, "session", None)
        asked = Asked(span, int(refresh) if refresh else None, is_browser=session is not None)
        snapshot, problem = await self._shared.get(span)
        page = await asyncio.to_thread(self._draw, asked, snapshot, problem)
        answer = Response(page, media_type="text/html")
        renewed = None if session is None else self._sessions.renewed(session)
        if renewed is not None:
            self._sessions.give(answer, renewed, is_secure=is_secure(request))
        return answer

    async def show_login(self, request: Request) -> Response:
        """Show the form."""
        problem = _WORDS.get(request.query_params.get("why", ""))
        query = kept_query(request.query_params)
        page = await asyncio.to_thread(draw_login, query, problem, is_open=is_open(request))
        return Response(page, media_type="text/html")

    async def log_in(self, request: Request) -> Response:
        """Begin a session for the key that was sent."""
        key_id = caller_id(request)
        answer = RedirectResponse(end_path(request), 303)
        self._sessions.give(answer, self._sessions.begin(key_id), is_secure=is_secure(request))
        self._parts.spawn(asyncio.to_thread(self._note, key_id, "dashboard.log_in"))
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the session of this browser."""
        answer = RedirectResponse(f"{LOGIN}?why=out", 303)
        end_session(answer)
        self._parts.spawn(asyncio.to_thread(self._note, caller_id(request), "dashboard.log_out"))
        return answer

    def _note(self, key_id: str, act: str) -> None:
        """Write it into the audit log, if the database answers: the page is needed most when it does not."""
        with suppress(DemurError):
            self._parts.store.audit(key_id, act, PATH)

    def _read(self, span: SpanName) -> Snapshot:
        parts = self._parts
        served = list(parts.pool.state.champions)
        has_texts = parts.config.text.log == "full"
        now = datetime.now(UTC)
        found = gather(parts.store, self._config, SPANS[span], now, served, has_texts=has_texts)
        found.window_s = parts.config.monitor.window.max_s
        return found

    def _draw(self, asked: Asked, snapshot: Snapshot | None, problem: str | None) -> bytes:
        state = self._parts.pool.state
        tasks = {task.name: task for model in state.models.values() for task in model.tasks}
        seen = Seen(look_around(self._parts), snapshot, problem, tasks)
        return draw_page(asked, seen, self._config)
