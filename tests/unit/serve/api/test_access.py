"""Every way in, from the application's routes and from its page: nobody passes without the right key.

A route that is added and is not guarded, or is open and not listed here, fails these tests.
"""

import re

import pytest

from demur.store import new_key

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("HEAD", "/openapi.json"),
    ("GET", "/dashboard/login"),
}
FORMS = {"/dashboard/login"}
"""Where a browser's form holds the key; another body is refused for what it is."""
FILLED = {"task": "refusal", "version": "f" * 64}
WHO = ("nobody", "nonsense", "unknown", "other", "revoked")


def ways_of(guard):
    """Method, path and scope; None where a route says nothing of it."""
    found = {
        (method, route.path, getattr(route, "access", {}).get("scope"))
        for route in guard.app.routes
        for method in route.methods
    }
    page = guard.ask("GET", "/openapi.json", key=None).json()
    listed = {(method.upper(), path) for path, ways in page["paths"].items() for method in ways}
    assert listed <= {(method, path) for method, path, _ in found}
    return sorted(found, key=str)


def fill(path):
    return re.sub(r"\{(\w+)\}", lambda one: FILLED.get(one[1], "0" * 32), path)


def test_what_is_open_is_listed_here_and_answers_anybody(guard):
    open_ones = {(method, path) for method, path, scope in ways_of(guard) if scope in (None, "public")}
    assert open_ones <= OPEN
    for method, path in open_ones:
        assert guard.ask(method, path, key=None).status_code == 200, path


@pytest.mark.parametrize("who", WHO)
def test_every_other_way_refuses_who_has_no_key_of_its_own(guard, who):
    text, row = new_key("gone", ["classify", "feedback", "admin"])
    guard.parts.store.add_key(row)
    guard.run(guard.parts.gate.refresh())
    known = guard.keys["all"]
    key = {
        "nobody": None,
        "nonsense": "x" * 5000,
        "unknown": new_key("never kept", ["admin"])[0],
        "other": known[:-1] + ("A" if known[-1] != "A" else "B"),  # of a known id, all but its last letter
        "revoked": text,
    }[who]
    if who == "revoked":
        assert guard.ask("GET", "/v1/models", key=key).status_code == 200
        guard.parts.store.revoke_key(row.id)
        guard.run(guard.parts.gate.refresh())
    for method, path, scope in ways_of(guard):
        if scope not in (None, "public"):
            body = {"input": "a"} if method == "POST" and path not in FORMS else None
            answer = guard.ask(method, fill(path), key=key, json=body)
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_every_scope_opens_its_own_ways_alone(guard):
    for method, path, scope in ways_of(guard):
        if scope in (None, "public"):
            continue
        wanted = "admin" if scope == "metrics" else scope
        for key in ("classify", "feedback", "admin"):
            status = guard.ask(method, fill(path), key=key).status_code
            assert (status == 403) is (key != wanted), (method, path, key, status)
            assert status != 401


def test_no_other_method_answers(guard):
    ways = ways_of(guard)
    for path in sorted({path for _, path, _ in ways}):
        known = {method for method, other, _ in ways if other == path}
        for method in {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - known:
            answer = guard.ask(method, fill(path), key="all")
            assert answer.status_code in (404, 405), (method, path, answer.status_code)


@pytest.mark.parametrize("header", ["Basic {0}", "bearer {0}{0}", "Bearer {0},{0}", "Token {0}", "Bearer\t{0}"])
def test_a_key_that_is_shown_in_another_way_opens_nothing(guard, header):
    header = header.format(guard.keys["all"])
    for method, path, scope in ways_of(guard):
        if scope not in (None, "public"):
            answer = guard.ask(method, fill(path), key=None, headers={"Authorization": header})
            assert answer.status_code == 401, (method, path)


def test_a_key_in_the_address_opens_nothing(guard):
    for name in ("key", "api_key", "access_token", "token", "authorization"):
        assert guard.ask("GET", f"/v1/models?{name}={guard.keys['all']}", key=None).status_code == 401
