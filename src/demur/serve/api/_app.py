"""The application: routes, errors, and what surrounds every request. What it is made of is given to it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from demur import __version__
from demur.serve.api import _admin, _classify, _feedback, _health, _models, _moderations, _vllm
from demur.serve.api._call import get_call
from demur.serve.api._classify import json_response
from demur.serve.api._envelope import Envelope
from demur.serve.api._errors import ApiError, describe_faults
from demur.serve.api._openapi import DESCRIPTION, make_openapi
from demur.serve.api._parts import Parts
from demur.serve.api._route import GuardRoute

OWN = (_health, _classify, _feedback, _models, _moderations, _vllm, _admin)
EXTENSIONS = ("experiments", "monitor", "retrain", "dashboard")
"""Packages of ``demur.serve`` that may offer ``router(parts)`` and ``install(parts)``."""
_WORDS = {
    404: "there is no such path; GET /openapi.json lists them",
    405: "the path takes other methods; see the header Allow",
}


def make_app(parts: Parts) -> FastAPI:
    """The application of one worker.

    Parameters
    ----------
    parts
        What it is made of; ``app.state.parts``.
    """
    app = FastAPI(
        title="demur",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.parts = parts
    app.router.redirect_slashes = False
    routers = [module.make_router() for module in OWN]
    routers += [one.router(parts) for one in _extensions() if hasattr(one, "router")]
    for router in routers:
        _check_guarded(router)
        app.router.routes.extend(router.routes)
    app.openapi = make_openapi(app, parts.config.limits)  # type: ignore[method-assign]
    app.router.routes.append(Route("/openapi.json", _show_openapi, methods=["GET"]))
    app.add_exception_handler(ApiError, _answer_api_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _answer_http_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _answer_bad_body)  # type: ignore[arg-type]
    if parts.config.cors.origins:
        _add_cors(app, list(parts.config.cors.origins))
    app.add_middleware(Envelope, parts=parts)
    return app


def install_extensions(parts: Parts) -> None:
    """Let the other packages of the guard take their places in the parts: router of experiments, observers."""
    for extension in _extensions():
        if hasattr(extension, "install"):
            extension.install(parts)


def _extensions() -> Iterator[Any]:
    for name in EXTENSIONS:
        if find_spec(f"demur.serve.{name}") is not None:
            yield import_module(f"demur.serve.{name}")


def _check_guarded(router: APIRouter) -> None:
    """No route may be open because somebody forgot to guard it."""
    open_ones = [getattr(route, "path", "?") for route in router.routes if not isinstance(route, GuardRoute)]
    if open_ones:
        raise TypeError(f"these routes are not guarded: {', '.join(open_ones)}; make them with guard_router")


def _add_cors(app: FastAPI, origins: list[str]) -> None:
    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
        expose_headers=["X-Request-Id", "Retry-After"],
        max_age=600,
    )


async def _show_openapi(request: Request) -> Response:
    call, state = get_call(request), request.app.state
    call.route = "/openapi.json"
    if not hasattr(state, "page"):  # anybody may ask for it, so it is made once
        state.page = json_response(request.app.openapi()).body
    return Response(state.page, media_type="application/json")


def _error(request: Request, error: ApiError) -> Response:
    call = get_call(request)
    body = error.body(call.request_id)
    return Response(body, error.status, headers=error.headers, media_type="application/json")


async def _answer_api_error(request: Request, error: ApiError) -> Response:
    return _error(request, error)


async def _answer_http_error(request: Request, error: HTTPException) -> Response:
    words = _WORDS.get(error.status_code, "the request cannot be answered")
    headers = {"Allow": _list_methods(request)} if error.status_code == 405 else error.headers
    return _error(request, ApiError(error.status_code, words, headers=headers))


def _list_methods(request: Request) -> str:
    """The methods that a path takes, of all its routes: the framework names those of the first."""
    path = request.scope["path"]
    found = [route for route in request.app.routes if isinstance(route, Route) and route.path_regex.match(path)]
    return ", ".join(sorted({method for route in found for method in route.methods or ()}))


async def _answer_bad_body(request: Request, error: RequestValidationError) -> Response:
    faults = error.errors()
    where = str(faults[0]["loc"][0]) if faults[0]["loc"] else ""
    message, param = describe_faults(faults, where)
    return _error(request, ApiError(422, message, param))
