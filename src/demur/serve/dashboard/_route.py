"""Routes that browsers ask: a log-in in a cookie beside the key in a header, and pages for what goes wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse

from demur.serve.api import ApiError, GuardRoute, get_call, read_body
from demur.serve.dashboard._page import draw_login, draw_problem, page_headers
from demur.serve.dashboard._session import PATH, PLAIN, SECURE, Sessions, is_same_site, is_secure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from demur.serve.api import Caller, Parts

LOGIN = f"{PATH}/login"
_FORM = "application/x-www-form-urlencoded"
_MOST_BYTES, _MOST_FIELDS = 4096, 8
_BURST = 10
_QUERY = ("span", "refresh")
_HERE = ("127.0.0.1", "localhost", "[::1]", "::1")


class PageRoute(GuardRoute):
    """A route whose caller is known by a session too, and who is answered with pages if they are a browser."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        guarded = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                answer = await guarded(request)
            except ApiError as error:
                if not wants_page(request):
                    raise
                answer = await self.tell(request, error)
            except RequestValidationError:
                if not wants_page(request):
                    raise
                answer = await self.tell(request, ApiError(422, "the address asks for what there is not"))
            answer.headers.update(page_headers())
            return answer

        return handle

    async def identify(self, request: Request, parts: Parts) -> Caller:
        """Who asks, by the key in the header, else by the session that a browser tells of."""
        if "authorization" in request.headers or self.access["scope"] == "public":
            return await super().identify(request, parts)
        sessions = Sessions(parts.identity, parts.config.dashboard)
        session = sessions.read(request.cookies)
        if session is None:
            raise _no_session(was_there=bool({PLAIN, SECURE} & set(request.cookies)))
        caller = await parts.gate.recall(session.key_id, self.access["scope"])
        request.state.session = session
        return caller

    async def tell(self, request: Request, error: ApiError) -> Response:
        """A page for a browser that says what is wrong; who is not known goes to the form."""
        if error.status == 401:
            asked = kept_query(request.query_params) | {"why": "ended" if error.param == "ended" else "first"}
            return RedirectResponse(f"{LOGIN}?{urlencode(asked)}", 303)
        page = await asyncio.to_thread(draw_problem, error.status, error.message)
        return Response(page, error.status, error.headers, "text/html")


class LoginRoute(PageRoute):
    """The route that takes the form: the key is in its body, and that is what the caller is known by."""

    async def identify(self, request: Request, parts: Parts) -> Caller:
        """Who asks, by the key in the form; attempts of an address are counted."""
        if "authorization" in request.headers:
            return await super().identify(request, parts)
        if not is_same_site(request):
            raise ApiError(403, "the form was sent by another site; open the dashboard itself")
        config = parts.config.dashboard
        address = request.client.host if request.client else ""
        wait_s = parts.buckets.take(f"log-in {address}", config.logins_per_s, _BURST / config.logins_per_s)
        if wait_s > 0:
            later = str(max(1, round(wait_s)))
            raise ApiError(429, "too many attempts; wait a little", headers={"Retry-After": later})
        request.state.form = form = await _read_form(request, parts.config.limits.timeout_s)
        header = {"authorization": f"Bearer {form.get('key', '').strip()}"}
        return await parts.gate.admit(header, self.access)

    async def tell(self, request: Request, error: ApiError) -> Response:
        """The form again, with what is wrong."""
        form = getattr(request.state, "form", {})
        words = {401: "This key is not known, or it was revoked.", 403: "This key has not the scope admin."}
        is_known = bool(form) and error.status in words
        said = words[error.status] if is_known else error.message[:1].upper() + error.message[1:] + "."
        page = await asyncio.to_thread(draw_login, kept_query(form), said, is_open=is_open(request))
        kept = {name: value for name, value in error.headers.items() if name.lower() != "www-authenticate"}
        return Response(page, error.status, kept, "text/html")


def wants_page(request: Request) -> bool:
    """Whether a browser asks, and not a program with a key."""
    return "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers


def is_open(request: Request) -> bool:
    """Whether what a browser sends can be read on its way."""
    host = request.url.hostname or ""
    return not (is_secure(request) or host in _HERE or host.endswith(".localhost"))


def kept_query(given: Mapping[str, str]) -> dict[str, str]:
    """What of an address or form says how the page is to be shown; short, so that nothing hides in it."""
    return {
        name: given[name] for name in _QUERY if name in given and given[name].isalnum() and len(given[name]) < 9
    }


async def _read_form(request: Request, timeout_s: float) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(timeout_s):
            body = await read_body(request, _MOST_BYTES)
    except TimeoutError:
        raise ApiError(408, "the form did not arrive in time", headers={"Connection": "close"}) from None
    if not body:
        raise _no_session(was_there=False)
    if kind != _FORM:
        raise ApiError(415, f"the form must be sent as {_FORM}")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise ApiError(400, "the form cannot be read") from None
    return {name: values[0] for name, values in fields.items()}


def _no_session(*, was_there: bool) -> ApiError:
    how = {"WWW-Authenticate": 'Bearer realm="demur"'}
    param = "ended" if was_there else None
    return ApiError(401, "a key is needed; send it as Authorization: Bearer KEY, or log in", param, how)


def end_path(request: Request) -> str:
    """Where the page is, with what it was asked for."""
    asked = kept_query(getattr(request.state, "form", {}) or request.query_params)
    return f"{PATH}?{urlencode(asked)}" if asked else PATH


def caller_id(request: Request) -> str:
    """The key of the caller, which is known by then."""
    return get_call(request).caller.key_id or ""
