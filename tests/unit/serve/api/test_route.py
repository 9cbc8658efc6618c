import asyncio

import pytest

from demur.serve.api import _app as app_module
from demur.serve.api import get_call, guard_router, make_app, needs


@pytest.fixture
def with_routes(guard, monkeypatch):
    """A guard with further routes: ``with_routes(lambda router: ...)``."""

    def add(make, *, quick=False):
        class Extension:
            @staticmethod
            def router(parts):
                router = guard_router("/extra", quick=quick)
                make(router)
                return router

        monkeypatch.setattr(app_module, "_extensions", lambda: [Extension])
        guard.app = make_app(guard.parts)
        return guard

    return add


def test_a_body_is_looked_at_before_any_route_sees_it(with_routes, error_of):
    def make(router):
        @router.post("", openapi_extra=needs("admin"))
        async def take(body: dict[str, float]) -> dict[str, float]:
            return body

    guard = with_routes(make)
    assert guard.ask("POST", "/extra", json={"a": 1.5}).json() == {"a": 1.5}
    for content, status in ((b'{"a": NaN}', 400), (b"[" * 50, 400), (b"{}x", 400), (b'{"a": "b"}', 422)):
        error_of(guard.post_bytes("/extra", content), status)
    error_of(guard.post_bytes("/extra", b"{}", content_type="text/plain"), 415)


def test_who_asks_is_looked_at_before_the_body(with_routes, error_of):
    read = []

    def make(router):
        @router.post("", openapi_extra=needs("admin"))
        async def take(body: dict[str, float]) -> None:
            read.append(body)

    guard = with_routes(make)
    error_of(guard.post_bytes("/extra", b"[" * 50, key="classify"), 403)
    assert read == []


def test_a_route_without_a_body_needs_none(with_routes):
    def make(router):
        @router.post("/act", openapi_extra=needs("admin"))
        async def act() -> dict[str, bool]:
            return {"done": True}

    assert with_routes(make).ask("POST", "/extra/act").json() == {"done": True}


def test_the_call_knows_its_route_and_caller(with_routes):
    seen = []

    def make(router):
        from fastapi import Request

        async def look(name: str, request: Request) -> None:
            seen.append(get_call(request))

        router.add_api_route("/{name}", look, methods=["GET"], openapi_extra=needs("classify"))

    guard = with_routes(make)
    guard.ask("GET", "/extra/somebody", key="classify")
    assert seen[0].route == "/extra/{name}"
    assert seen[0].caller.scopes == {"classify"}


def test_a_body_that_does_not_arrive_is_not_waited_for(make_guard):
    guard = make_guard(limits={"timeout_s": 0.2})
    sent = []

    async def receive():
        if not sent:
            sent.append(b"")
            return {"type": "http.request", "body": b'{"input":', "more_body": True}
        await asyncio.sleep(60)

    answers = []

    async def note(message):
        answers.append(message)

    headers = [
        (b"authorization", f"Bearer {guard.keys['all']}".encode()),
        (b"content-type", b"application/json"),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/classify",
        "raw_path": b"/v1/classify",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "scheme": "http",
        "server": ("guard", 80),
        "http_version": "1.1",
    }
    guard.run(guard.app(scope, receive, note))
    assert answers[0]["status"] == 408
    assert (b"connection", b"close") in answers[0]["headers"]
