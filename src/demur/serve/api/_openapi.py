"""The OpenAPI page: limits of the configuration in its schemas, and how a key is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from demur.serve.api._schemas import LIMIT

if TYPE_CHECKING:
    from fastapi import FastAPI

    from demur.serve._config import LimitsConfig

_KEYWORDS = {"array": "maxItems", "string": "maxLength"}
DESCRIPTION = """Classifiers of refusals, jailbreaks and risky prompts as a guard of language models.

Send a key as `Authorization: Bearer KEY`; make one with `demur store keys`. Every answer has `X-Request-Id`, the
caller's own where it was given. Errors have one shape, and never hold a text that was sent.
"""


def make_openapi(app: FastAPI, limits: LimitsConfig) -> Callable[[], dict[str, Any]]:
    """A function that gives the schema of an application, made once."""
    from fastapi.openapi.utils import get_openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            for node in walk(found):
                name = node.pop(LIMIT, None)
                if name is not None:
                    node[_KEYWORDS[node["type"]]] = getattr(limits, name)
            components = found.setdefault("components", {})
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = found
        return app.openapi_schema

    return openapi


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a nested value, the outer ones first."""
    if isinstance(node, dict):
        yield node
    for value in list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(value)
