import asyncio
import logging

import pytest

from demur.serve.api._envelope import Envelope


def lines(caplog):
    return [record.facts for record in caplog.records if record.name == "demur.serve.request"]


def test_a_request_has_one_line_without_its_texts(guard, caplog):
    caplog.set_level(logging.INFO)
    body = {"input": {"prompt": "a very particular prompt", "response": "a very particular response"}}
    answer = guard.ask("POST", "/v1/classify", json=body)
    (facts,) = lines(caplog)
    assert facts["answer_id"] == answer.json()["id"]
    assert (facts["method"], facts["route"], facts["status"], facts["items"]) == ("POST", "/v1/classify", 200, 1)
    assert facts["key"] == guard.keys["all"].split("_")[1]
    assert facts["ms"] > 0
    assert "particular" not in caplog.text
    assert guard.keys["all"] not in caplog.text


def test_a_route_is_named_by_its_template_and_health_has_no_line(guard, caplog):
    caplog.set_level(logging.INFO)
    guard.ask("DELETE", "/admin/keys/secret-name")
    guard.ask("GET", "/healthz", key=None)
    guard.ask("GET", "/some/made/up/path")
    assert [facts["route"] for facts in lines(caplog)] == ["/admin/keys/{id}", "unmatched"]


def test_lines_can_be_switched_off(make_guard, caplog):
    caplog.set_level(logging.INFO)
    make_guard(log={"access": False}).ask("GET", "/v1/models")
    assert lines(caplog) == []


def send(app, scope):
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def note(message):
        sent.append(message)

    asyncio.run(app(scope, receive, note))
    return sent


SCOPE = {"type": "http", "method": "GET", "headers": [(b"x-request-id", b"mine")]}


def test_whatever_fails_ends_as_an_error_of_ours(guard):
    async def fail(scope, receive, send):
        raise RuntimeError("a text of a user")

    start, body = send(Envelope(fail, guard.parts), dict(SCOPE))
    assert start["status"] == 500
    assert b"a text of a user" not in body["body"]
    assert b'"request_id": "mine"' in body["body"]


def test_an_answer_that_had_begun_is_broken_off(guard):
    async def fail(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half-way")

    with pytest.raises(ConnectionError, match="had begun"):
        send(Envelope(fail, guard.parts), dict(SCOPE))


def test_headers_that_a_route_sends_itself_are_left_alone(guard):
    async def page(scope, receive, send):
        headers = [(b"content-security-policy", b"default-src 'self'")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    start, _ = send(Envelope(page, guard.parts), dict(SCOPE))
    values = [value for name, value in start["headers"] if name == b"content-security-policy"]
    assert values == [b"default-src 'self'"]


def test_other_than_http_is_passed_on(guard):
    seen = []

    async def note(scope, receive, send):
        seen.append(scope["type"])

    send(Envelope(note, guard.parts), {"type": "lifespan"})
    assert seen == ["lifespan"]
