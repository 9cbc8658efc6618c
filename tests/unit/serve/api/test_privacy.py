"""Words of users are sent in every field of every way in, and every kind of error is provoked; then all that the
guard says, logs, counts and keeps is searched for them.
"""

import io
import itertools
import json
import re
from contextlib import ExitStack

import pytest

from demur.errors import SpoolFullError, StoreUnavailableError
from demur.serve._config import LogConfig
from demur.serve._log import start_log
from demur.serve.secrets import Redactor

USER = "Glimmerwax of the User"
ADMIN = "Thornroot of the Admin"
"""A name that an administrator gives; it is kept, and shown to administrators, but stands in no log or error."""
WORDS = re.compile(rb"(?i)glimmerwax|thornroot")


@pytest.fixture
def log():
    out = io.StringIO()
    with ExitStack() as stack:
        stack.callback(start_log(LogConfig(level="debug"), Redactor(), out))

        def read():
            stack.close()
            return out.getvalue()

        yield read


def fields_of(page, reference):
    schema = page["components"]["schemas"][reference.rpartition("/")[2]]
    return schema.get("properties", {})


def wrong_bodies(page, operation):
    """Bodies with the words where they do not belong."""
    (content,) = operation["requestBody"]["content"].values()
    fields = list(fields_of(page, content["schema"]["$ref"]))
    shapes = (USER, [USER], {USER: USER}, [{USER: 1}], [[USER]])
    for field, value in itertools.product(fields, shapes):
        yield {field: value}
    yield dict.fromkeys(fields, USER)
    yield {USER: USER}
    yield [USER]
    yield USER


def wrong_requests(page):
    """Method, path and content; nothing of it can be done."""
    for path, ways in page["paths"].items():
        for method, operation in ways.items():
            for words in (USER.replace(" ", "%20"), "..%2f" + USER.split()[0], "%00" + USER.split()[0]):
                filled = re.sub(r"\{\w+\}", words, path)
                yield method.upper(), f"{filled}?task={words}&actor={words}&limit={words}&{words}={words}", b"{}"
            if "requestBody" in operation:
                filled = path.replace("{task}", "refusal").replace("{version}", "f" * 64).replace("{id}", "0" * 32)
                for body in wrong_bodies(page, operation):
                    text = json.dumps(body).encode()
                    yield method.upper(), filled, text
                    yield method.upper(), filled, text[:-1]
                    yield method.upper(), filled, text + b"\xff"


HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": USER,
    "X-Request-Id": USER,
    "Referer": USER,
    "Origin": USER,
    "Cookie": f"session={USER}",
    "X-Forwarded-For": USER,
}


def send_what_is_right(guard):
    """The words where they belong; the ids of the answers."""
    item = {"prompt": USER, "response": f"I cannot help with {USER}.", "id": USER}
    answer = guard.ask("POST", "/v1/classify", json={"input": [item], "subject": USER}, headers=HEADERS)
    assert answer.status_code == 200
    for path in ("/v1/moderations", "/classify"):
        assert guard.ask("POST", path, json={"input": [USER], "model": "refusal"}).status_code == 200
    body = {"id": answer.json()["id"], "task": "refusal", "label": "no_refusal", "note": USER}
    assert guard.ask("POST", "/v1/feedback", json=body).status_code == 200
    made = guard.ask("POST", "/admin/keys", json={"name": ADMIN, "scopes": ["classify"]})
    assert made.json()["name"] == ADMIN


def send_what_fails(guard, monkeypatch):
    """Errors inside, whose own messages hold the words."""

    def fail(*arguments, **named):
        raise ValueError(USER)

    def be_down(*arguments, **named):
        raise StoreUnavailableError("it does not answer")

    async def be_full(*arguments, **named):
        raise SpoolFullError("it is full")

    item, statuses = {"input": {"prompt": USER, "response": USER}, "subject": USER}, []
    places = [
        (guard.parts.pool.state.champions["refusal"], "_predict", fail),
        (guard.parts.spool, "aput", be_full),
        (guard.parts.spool, "aput", fail),
        (guard.parts.identity, "hash_subject", fail),
    ]
    for place, name, act in places:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, act, raising=False)
            statuses.append(guard.ask("POST", "/v1/classify", json=item))
    for act in (fail, be_down):
        with monkeypatch.context() as patch:
            patch.setattr(guard.parts.store, "add_key", act)
            statuses.append(guard.ask("POST", "/admin/keys", json={"name": ADMIN, "scopes": ["admin"]}))
    assert {one.status_code for one in statuses} == {500, 503}
    return statuses


@pytest.mark.parametrize("kept", ["none", "hashed", "full"])
def test_words_of_users_stand_only_where_they_may(make_guard, monkeypatch, log, kept):
    guard = make_guard(text={"log": kept}, cors={"origins": ["https://app.example.org"]})
    page = guard.ask("GET", "/openapi.json", key=None).json()
    send_what_is_right(guard)
    refused = [
        guard.ask(method, path, content=content, headers=HEADERS) for method, path, content in wrong_requests(page)
    ]
    refused += [guard.ask("POST", "/v1/classify", key=USER.replace(" ", ""), content=USER, headers=HEADERS)]
    assert len(refused) > 400
    assert {one.status_code for one in refused} <= {200, 400, 401, 403, 404, 405, 422}
    for answer in [*refused, *send_what_fails(guard, monkeypatch)]:
        if answer.status_code >= 400:
            found = answer.content + repr(answer.headers).encode()
            assert not WORDS.search(found), (answer.request.method, answer.request.url, found[:400])
    assert guard.rows()
    assert guard.feedback()
    assert not WORDS.search(guard.ask("GET", "/metrics").content)
    assert not WORDS.search(log().encode())
    disk = guard.disk()
    assert (USER.encode() in disk) is (kept == "full")
    assert ADMIN.encode() in disk
    assert b"User" not in disk or kept == "full"
