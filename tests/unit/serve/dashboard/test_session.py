import pytest
from starlette.requests import Request
from starlette.responses import Response

from demur.serve import Identity
from demur.serve.dashboard import DashboardConfig
from demur.serve.dashboard._session import PLAIN, SECURE, Session, Sessions, end_session, is_same_site, is_secure

IDENTITY = Identity([b"0123456789abcdef"])
KEY = "0123456789ab"


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions(IDENTITY, DashboardConfig(session_s=600, longest_s=1000), clock)


def cookie_of(sessions, session, *, is_secure=False):
    response = Response()
    sessions.give(response, session, is_secure=is_secure)
    (header,) = response.headers.getlist("set-cookie")
    name, _, rest = header.partition("=")
    return name, rest.partition(";")[0], header


def request(scheme="http", **headers):
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "scheme": scheme, "server": ("guard", 80), "path": "/", "headers": raw}
    return Request(scope | {"query_string": b"", "method": "POST"})


def test_a_cookie_is_for_the_dashboard_alone_and_out_of_reach_of_scripts(sessions):
    name, value, header = cookie_of(sessions, sessions.begin(KEY))
    assert name == PLAIN
    for part in ("HttpOnly", "SameSite=strict", "Path=/dashboard", "Max-Age=600"):
        assert part in header
    assert "Secure" not in header
    assert sessions.read({PLAIN: value}).key_id == KEY


def test_over_tls_the_cookie_stays_there(sessions):
    name, value, header = cookie_of(sessions, sessions.begin(KEY), is_secure=True)
    assert name == SECURE
    assert "; Secure" in header
    assert sessions.read({SECURE: value, PLAIN: "other"}) == sessions.begin(KEY)


def test_a_session_ends_when_nobody_asks(sessions, clock):
    _, value, _ = cookie_of(sessions, sessions.begin(KEY))
    clock.now += 599
    assert sessions.read({PLAIN: value}) is not None
    clock.now += 2
    assert sessions.read({PLAIN: value}) is None


def test_a_session_that_goes_on_ends_at_last(sessions, clock):
    session = sessions.begin(KEY)
    assert sessions.renewed(session) is None
    for _ in range(3):
        clock.now += 300
        session = sessions.renewed(session)
        _, value, _ = cookie_of(sessions, session)
        assert sessions.read({PLAIN: value}) == session
    clock.now += 101
    assert sessions.read({PLAIN: value}) is None


@pytest.mark.parametrize("wrong", ["", "x", f"{KEY}.1.1", "a.b.c.d", "ü"])
def test_what_was_not_signed_is_no_session(sessions, wrong):
    _, value, _ = cookie_of(sessions, sessions.begin(KEY))
    assert sessions.read({PLAIN: wrong}) is None
    assert sessions.read({PLAIN: value[:-1] + ("0" if value[-1] != "0" else "1")}) is None
    assert sessions.read({PLAIN: value.replace(KEY, "ba9876543210")}) is None
    assert sessions.read({}) is None


def test_what_was_sealed_for_something_else_is_no_session(sessions):
    sealed = IDENTITY.seal("something else", f"{KEY}.1000000.1000000")
    assert sessions.read({PLAIN: sealed}) is None
    odd = IDENTITY.seal("dashboard session", "no session at all")
    assert sessions.read({PLAIN: odd}) is None


def test_both_cookies_go_with_a_log_out():
    response = Response()
    end_session(response)
    headers = response.headers.getlist("set-cookie")
    assert [one.partition("=")[0] for one in headers] == [SECURE, PLAIN]
    assert all("Max-Age=0" in one and "Path=/dashboard" in one for one in headers)


@pytest.mark.parametrize(
    ("given", "is_one"),
    [
        (request(), False),
        (request("https"), True),
        (request(x_forwarded_proto="https, http"), True),
        (request(x_forwarded_proto="http"), False),
        (request(origin="https://guard"), True),
        (request(origin="http://guard"), False),
    ],
)
def test_tls_is_known_here_and_behind_a_proxy(given, is_one):
    assert is_secure(given) is is_one


@pytest.mark.parametrize(
    ("given", "is_one"),
    [
        (request(sec_fetch_site="same-origin"), True),
        (request(sec_fetch_site="none"), True),
        (request(sec_fetch_site="cross-site", origin="http://guard", host="guard"), False),
        (request(sec_fetch_site="same-site"), False),
        (request(origin="http://guard:8000", host="guard:8000"), True),
        (request(origin="https://shown", host="guard", x_forwarded_host="shown"), True),
        (request(origin="http://evil", host="guard"), False),
        (request(origin="null", host="guard"), False),
        (request(host="guard"), True),
    ],
)
def test_forms_of_other_sites_are_told_apart(given, is_one):
    assert is_same_site(given) is is_one


def test_a_session_says_nothing_of_the_key_itself(sessions):
    _, value, _ = cookie_of(sessions, Session(KEY, 1, 2))
    assert value.startswith(f"{KEY}.1.2.")
    assert len(value) == len(f"{KEY}.1.2.") + 64
