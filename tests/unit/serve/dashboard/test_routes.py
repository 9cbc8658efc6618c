import asyncio
import json
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from starlette.responses import Response
from tests.dashboards import add_traffic, drift_runs

from demur.errors import StoreUnavailableError
from demur.serve import dashboard
from demur.serve.dashboard._session import Sessions
from demur.serve.monitor._watch_state import WatchState, state_name

HTML = {"accept": "text/html,application/xhtml+xml"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def guard(make_guard):
    return make_guard()


def log_in(guard, key="admin", fields=None, **headers):
    body = urlencode({"key": guard.keys.get(key, key)} | (fields or {}))
    return guard.ask("POST", "/dashboard/login", None, HTML | FORM | headers, content=body)


def cookie_of(answer):
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


def look(guard, path="/dashboard", **headers):
    return guard.ask("GET", path, None, HTML | headers)


def test_who_logs_in_sees_the_page_and_who_logs_out_does_not(guard):
    assert look(guard).headers["location"] == "/dashboard/login?why=first"
    assert "Log in" in look(guard, "/dashboard/login").text
    answer = log_in(guard)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
    cookie = cookie_of(answer)
    page = look(guard, **cookie)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-store"
    assert "set-cookie" not in page.headers
    assert "refusal" in page.text
    out = guard.ask("POST", "/dashboard/logout", None, HTML | cookie)
    assert (out.status_code, out.headers["location"]) == (303, "/dashboard/login?why=out")
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert "You are logged out." in look(guard, "/dashboard/login?why=out").text


def test_log_ins_are_in_the_audit_log(guard):
    cookie = cookie_of(log_in(guard))
    guard.ask("POST", "/dashboard/logout", None, HTML | cookie)

    async def settle():
        while guard.parts.background:
            await asyncio.gather(*guard.parts.background)  # lets the loop go on, also where all have ended

    guard.run(settle())
    acts = [(row.act, row.target) for row in guard.parts.store.audit_log()]
    assert sorted(acts) == [("dashboard.log_in", "/dashboard"), ("dashboard.log_out", "/dashboard")]


def test_what_was_asked_for_is_shown_after_the_log_in(guard):
    answer = look(guard, "/dashboard?span=week&refresh=60")
    assert answer.headers["location"] == "/dashboard/login?span=week&refresh=60&why=first"
    assert 'name="span" value="week"' in look(guard, answer.headers["location"]).text
    answer = log_in(guard, fields={"span": "week", "refresh": "60"})
    assert answer.headers["location"] == "/dashboard?span=week&refresh=60"
    assert "Last 7 days · demur" in look(guard, answer.headers["location"], **cookie_of(answer)).text


@pytest.mark.parametrize(
    ("key", "status", "words"),
    [("wrong", 401, "not known"), ("", 401, "not known"), ("classify", 403, "scope admin")],
)
def test_a_key_that_does_not_open_it_is_refused_on_the_form(guard, key, status, words):
    answer = log_in(guard, key)
    assert answer.status_code == status
    assert words in answer.text
    assert "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text
    assert key == "" or guard.keys.get(key, key) not in answer.text


def test_the_end_of_a_key_ends_its_sessions(guard):
    cookie = cookie_of(log_in(guard))
    guard.ask("DELETE", f"/admin/keys/{guard.keys['admin'].split('_')[1]}", "all")
    answer = look(guard, **cookie)
    assert answer.headers["location"] == "/dashboard/login?why=first"
    assert guard.ask("GET", "/dashboard", None, cookie).status_code == 401


def test_a_session_that_is_over_leads_to_the_form_that_says_so(guard):
    answer = look(guard, cookie="demur_session=something.else")
    assert answer.headers["location"] == "/dashboard/login?why=ended"
    assert "The session has ended" in look(guard, "/dashboard/login?why=ended").text


def test_a_session_opens_the_page_and_nothing_else(guard):
    cookie = cookie_of(log_in(guard))
    assert guard.ask("GET", "/admin/keys", None, cookie).status_code == 401
    assert guard.ask("POST", "/v1/classify", None, cookie, json={}).status_code == 401


def test_programs_show_their_key_in_a_header(guard, error_of):
    page = guard.ask("GET", "/dashboard", "admin")
    assert page.status_code == 200
    assert "/dashboard/logout" not in page.text
    assert "set-cookie" not in page.headers
    error_of(guard.ask("GET", "/dashboard", None), 401)
    error_of(guard.ask("GET", "/dashboard", "classify"), 403)
    error_of(guard.ask("GET", "/dashboard?span=year", "admin"), 422)


def test_a_browser_is_told_what_is_wrong_on_a_page(guard):
    cookie = cookie_of(log_in(guard))
    answer = look(guard, "/dashboard?span=year", **cookie)
    assert answer.status_code == 422
    assert "There is no page now" in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}, {"origin": "null"}],
    ids=["site", "origin", "null"],
)
def test_no_other_site_logs_a_browser_in(guard, headers):
    answer = log_in(guard, **headers)
    assert answer.status_code == 403
    assert "another site" in answer.text


def test_over_tls_the_cookie_is_for_tls_alone(guard):
    answer = log_in(guard, **{"x-forwarded-proto": "https"})
    assert answer.headers["set-cookie"].startswith("__Secure-demur_session=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert look(guard, **cookie_of(answer)).status_code == 200


def test_attempts_of_an_address_are_counted(make_guard):
    guard = make_guard(dashboard={"logins_per_s": 0.001})
    assert {log_in(guard, "wrong").status_code for _ in range(10)} == {401}
    answer = log_in(guard)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 500
    assert "Too many attempts" in answer.text


def test_pages_count_against_the_rate_of_their_key(make_guard):
    guard = make_guard(limits={"rate_per_s": 0.001, "burst_s": 3000})
    cookie = cookie_of(log_in(guard))
    assert [look(guard, **cookie).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"key=" + b"x" * 5000, FORM["content-type"], 413),
        (b"key=%ff\xff", FORM["content-type"], 400),
        (b"&".join(b"a=b" for _ in range(20)), FORM["content-type"], 400),
        (b'{"key": 1}', "application/json", 415),
        (b"", FORM["content-type"], 401),
    ],
    ids=["long", "bytes", "fields", "json", "empty"],
)
def test_forms_that_nobody_should_send_are_refused(guard, content, kind, status):
    answer = guard.ask("POST", "/dashboard/login", None, HTML | {"content-type": kind}, content=content)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src")


def test_no_key_is_in_logs_or_addresses(guard, caplog):
    with caplog.at_level(logging.DEBUG):
        answer = log_in(guard, fields={"span": "day"})
        look(guard, answer.headers["location"], **cookie_of(answer))
        log_in(guard, f"{guard.keys['admin']}x")
    told = caplog.text + json.dumps([getattr(one, "facts", {}) for one in caplog.records])
    secret = guard.keys["admin"].split("_", 2)[2]
    assert "/dashboard/login" in told
    assert secret not in told
    assert secret not in answer.headers["location"] + answer.headers["set-cookie"]
    assert secret.encode() not in guard.disk()


def test_the_database_may_be_away(guard, monkeypatch):
    cookie = cookie_of(log_in(guard))

    def fail(*_, **__):
        raise StoreUnavailableError("the database does not answer; check that it runs")

    monkeypatch.setattr(guard.parts.store, "models", fail)
    page = look(guard, **cookie)
    assert page.status_code == 200
    assert "There are no figures now" in page.text
    assert "check that it runs" in page.text
    assert "rules" in page.text


@pytest.mark.slow
def test_a_postgresql_that_is_stopped_takes_no_page_away(make_guard, postgres, postgres_server):
    guard = make_guard(database={"url": postgres}, dashboard={"keep_s": 0, "wait_s": 120})
    champions = {row.task: row for row in guard.parts.store.models()}
    add_traffic(guard.parts.store, datetime.now(UTC), champions, requests=60)
    cookie = cookie_of(log_in(guard))
    assert "does not answer" not in look(guard, "/dashboard?span=day", **cookie).text
    postgres_server.stop()
    try:
        page = look(guard, "/dashboard?span=day", **cookie)
        assert page.status_code == 200
        assert "These figures are older than they could be" in page.text
        assert "What this server knows by itself" in look(guard, "/dashboard?span=week", **cookie).text
        assert log_in(guard).status_code == 303
    finally:
        postgres_server.start()
    assert "does not answer" not in look(guard, "/dashboard?span=day", **cookie).text


def test_a_session_is_prolonged_while_it_is_used(guard):
    config = guard.parts.config.dashboard
    earlier = time.time() - config.session_s / 2
    sessions = Sessions(guard.parts.identity, config, lambda: earlier)
    answer = Response()
    sessions.give(answer, sessions.begin(guard.keys["admin"].split("_")[1]), is_secure=False)
    page = look(guard, **cookie_of(answer))
    assert page.status_code == 200
    assert cookie_of(page) != cookie_of(answer)
    assert look(guard, **cookie_of(page)).status_code == 200


def test_texts_are_shown_only_where_they_are_logged(make_guard):
    for log, is_shown in (("full", True), ("hashed", False)):
        guard = make_guard(text={"log": log})
        champions = {row.task: row for row in guard.parts.store.models()}
        add_traffic(guard.parts.store, datetime.now(UTC), champions, requests=60, texts=True)
        page = guard.ask("GET", "/dashboard?span=day", "admin").text
        assert ("keep bread fresh" in page) is is_shown


def test_a_task_whose_monitor_stopped_is_said_to_be_unwatched(make_guard):
    for window_s, is_said in ((86_400, True), (None, False)):
        guard = make_guard(monitor={"window": {"max_s": window_s}})
        store, now = guard.parts.store, datetime.now(UTC)
        champions = {row.task: row for row in store.models()}
        add_traffic(store, now, champions, requests=60)
        last, version = now - timedelta(days=9), champions["refusal"].version
        watch = WatchState(version, last, last, last, reference="r").to_json()
        store.change_monitor_state(state_name("refusal"), lambda _, kept=watch: kept)
        (run,) = drift_runs("refusal", last, 1)
        store.add_drift_run(replace(run, window=run.window | {"version": version}))
        page = guard.ask("GET", "/dashboard?span=day", "admin").text
        assert ("the monitor has not looked though answers came" in page) is is_said
        assert "No drift in the last 250 answers, looked at 9 days ago." in page


def test_there_need_be_no_dashboard(make_guard):
    guard = make_guard(dashboard={"enabled": False})
    assert guard.ask("GET", "/dashboard", "admin").status_code == 404
    parts = replace(guard.parts)
    assert dashboard.router(parts).routes == []
