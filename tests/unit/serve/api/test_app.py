import asyncio
import json
import time

import pytest

from demur.serve.api import _app as module
from demur.serve.api import make_app

ITEM = {"prompt": "How do I keep bread fresh?", "response": "Here it is."}


def test_a_route_that_says_nothing_takes_admin(guard):
    from demur.serve.api import guard_router

    router = guard_router()

    @router.get("/forgotten")
    async def forgotten():
        return {}

    assert router.routes[0].access["scope"] == "admin"


def test_an_application_with_an_unguarded_route_does_not_begin(guard, monkeypatch):
    from fastapi import APIRouter

    class Extension:
        @staticmethod
        def router(parts):
            router = APIRouter()
            router.add_api_route("/open", lambda: {})
            return router

    monkeypatch.setattr(module, "_extensions", lambda: [Extension])
    with pytest.raises(TypeError, match="these routes are not guarded: /open"):
        make_app(guard.parts)


def test_other_packages_add_routes_and_take_their_places(guard, monkeypatch):
    from demur.serve.api import guard_router, install_extensions, needs

    class Extension:
        @staticmethod
        def router(parts):
            router = guard_router("/admin/extra")
            router.add_api_route("", lambda: {"tasks": list(parts.pool.state.tasks)}, openapi_extra=needs("admin"))
            return router

        @staticmethod
        def install(parts):
            parts.observers.append(print)

    monkeypatch.setattr(module, "_extensions", lambda: [Extension])
    guard.app = make_app(guard.parts)
    assert guard.ask("GET", "/admin/extra", key="admin").json() == {"tasks": ["refusal", "prompt_risk"]}
    assert guard.ask("GET", "/admin/extra", key="classify").status_code == 403
    install_extensions(guard.parts)
    assert guard.parts.observers == [print]


# Errors


def test_unknown_paths_and_methods_are_said_so(guard, error_of):
    assert "/openapi.json" in error_of(guard.ask("GET", "/nowhere"), 404)["message"]
    answer = guard.ask("GET", "/v1/classify")
    error_of(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert guard.ask("PUT", "/admin/keys").headers["allow"] == "GET, POST"
    assert guard.ask("GET", f"/admin/requests/{'0' * 44}").headers["allow"] == "DELETE"
    error_of(guard.ask("POST", "/v1/classify/"), 404)


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/moderations", "/classify", "/v1/feedback", "/admin/keys"])
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"input": "\xff"}', 400),
        (b'{"input": NaN}', 400),
        (b'{"input": {"prompt": "\\ud800"}}', 400),
        (b'"' + b"a" * 900_000 + b'"', 422),
        (b"[" + b'{"prompt":"a"},' * 60_000 + b"0]", 422),
        (b"{" + b" " * 2_000_000 + b"}", 413),
    ],
    ids=["empty", "cut", "deep", "utf8", "nan", "surrogate", "string", "items", "bytes"],
)
def test_bodies_that_nobody_should_send_are_refused(guard, error_of, path, content, status):
    answer = guard.post_bytes(path, content)
    if b"ud800" in content and path == "/admin/keys":
        status = 422
    error_of(answer, status)
    assert len(answer.content) < 1000


def test_a_hundred_thousand_items_are_refused(make_guard, error_of):
    guard = make_guard(limits={"max_body_bytes": 10_000_000})
    content = json.dumps({"input": [ITEM] * 100_000}).encode()
    error = error_of(guard.post_bytes("/v1/classify", content), 422)
    assert "more entries than so many items can have" in error["message"]
    content = json.dumps({"input": ["a"] * 100_000}).encode()
    error_of(guard.post_bytes("/v1/moderations", content), 422)


@pytest.mark.parametrize(
    "path", ["/v1/classify", "/v1/moderations", "/classify", "/admin/experiments", "/admin/keys"]
)
def test_what_is_wrong_with_hundreds_of_thousands_of_parts_is_not_said_of_each(guard, error_of, path):
    """Said of each, half a million would take a gigabyte and stop the event loop for seconds."""
    guard.post_bytes(path, b"{}")
    for name in (b"input", b"threat_labels", b"scopes"):
        started = time.process_time()
        error_of(guard.post_bytes(path, b'{"%b": [1' % name + b",1" * 500_000 + b"]}"), 422)
        assert time.process_time() - started < 1


def test_another_content_type_is_refused(guard, error_of):
    error_of(guard.post_bytes("/v1/classify", b"{}", content_type="text/plain"), 415)


def test_no_error_holds_what_was_sent(guard):
    secret = "how do i make glimmerwax"
    bodies = [
        {"input": secret},
        {"input": {secret: 1}},
        {secret: 1},
        {"input": {"prompt": [secret]}},
        {"input": {"prompt": "a"}, "tasks": [secret]},
        {"input": {"prompt": "a"}, "tasks": secret},
        {"input": [{"prompt": "a", "id": {secret: secret}}]},
        {"id": secret, "task": secret, "label": secret},
        {"input": "a", "model": secret},
        {"name": {secret: 1}, "scopes": [secret]},
        {"folder": [secret]},
    ]
    for path in ("/v1/classify", "/v1/moderations", "/classify", "/v1/feedback", "/admin/keys", "/admin/models"):
        for body in bodies:
            answer = guard.ask("POST", path, json=body)
            assert answer.status_code == 200 or secret not in answer.text, (path, body)
            cut = json.dumps(body)[:-1]
            assert secret not in guard.post_bytes(path, cut.encode()).text


# What surrounds requests


def test_every_answer_has_its_id_and_headers_of_security(guard):
    for answer in (
        guard.ask("GET", "/healthz", key=None),
        guard.ask("GET", "/nowhere"),
        guard.ask("GET", "/v1/models", key=None),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
        assert len(answer.headers["x-request-id"]) == 32


def test_an_id_of_the_caller_is_given_back_if_it_is_valid(guard):
    assert guard.ask("GET", "/healthz", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    for bad in ("a b", "x" * 65, "<script>"):
        assert guard.ask("GET", "/healthz", headers={"X-Request-Id": bad}).headers["x-request-id"] != bad


def test_without_an_id_of_the_caller_the_answers_id_is_that_of_the_request(guard):
    answer = guard.ask("POST", "/v1/classify", json={"input": ITEM})
    assert answer.headers["x-request-id"] == answer.json()["id"]


def test_the_rate_of_a_key_is_kept(make_guard, error_of):
    guard = make_guard(limits={"rate_per_s": 0.01, "burst_s": 300})
    statuses = [guard.ask("GET", "/v1/models", key="classify").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    answer = guard.ask("GET", "/v1/models", key="classify")
    error_of(answer, 429)
    assert 1 <= int(answer.headers["retry-after"]) <= 100
    assert guard.ask("GET", "/v1/models", key="all").status_code == 200
    assert guard.ask("GET", "/healthz", key=None).status_code == 200


def test_a_browser_of_another_origin_is_let_in_only_where_it_is_named(make_guard, guard):
    origin = "https://app.example.org"
    ask = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in guard.ask("OPTIONS", "/v1/classify", headers=ask).headers
    named = make_guard(cors={"origins": [origin]})
    assert named.ask("OPTIONS", "/v1/classify", headers=ask).headers["access-control-allow-origin"] == origin
    other = named.ask("OPTIONS", "/v1/classify", headers=ask | {"Origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in other.headers


def test_many_at_once_are_all_answered(guard):
    headers = {"Authorization": f"Bearer {guard.keys['all']}"}

    async def crowd():
        return await asyncio.gather(
            *(guard._send("POST", "/v1/classify", headers, {"json": {"input": ITEM}}) for _ in range(64))
        )

    answers = guard.run(crowd())
    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["id"] for one in answers}) == 64
    assert len(guard.rows()) == 128


def test_the_page_is_made_once(guard, monkeypatch):
    first = guard.ask("GET", "/openapi.json", key=None)
    monkeypatch.setattr(guard.app, "openapi", None)
    again = guard.ask("GET", "/openapi.json", key=None)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["content-type"] == "application/json"
