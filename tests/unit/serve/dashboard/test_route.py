import pytest
from starlette.requests import Request

from demur.serve.dashboard._route import is_open, kept_query, wants_page


def request(url="http://guard:8000/dashboard", **headers):
    scheme, _, rest = url.partition("://")
    raw = [(b"host", rest.partition("/")[0].encode())]
    raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {"type": "http", "method": "GET", "scheme": scheme, "path": "/", "headers": raw, "query_string": b""}
    )


@pytest.mark.parametrize(
    ("headers", "is_one"),
    [
        ({}, False),
        ({"accept": "*/*"}, False),
        ({"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, True),
        ({"accept": "text/html", "authorization": "Bearer x"}, False),
    ],
)
def test_browsers_are_told_from_programs(headers, is_one):
    assert wants_page(request(**headers)) is is_one


@pytest.mark.parametrize(
    ("given", "is_one"),
    [
        (request(), True),
        (request("https://guard/dashboard"), False),
        (request("http://127.0.0.1:8000/dashboard"), False),
        (request("http://localhost:8000/dashboard"), False),
        (request(x_forwarded_proto="https"), False),
        (request("http://localhost.evil.example/dashboard"), True),
    ],
)
def test_an_open_line_is_known(given, is_one):
    assert is_open(given) is is_one


def test_only_short_plain_words_are_kept_of_an_address():
    given = {"span": "week", "refresh": "60", "why": "x", "key": "secret"}
    assert kept_query(given) == {"span": "week", "refresh": "60"}
    for wrong in ("", "a b", "https://evil", "x" * 9, "<b>"):
        assert kept_query({"span": wrong}) == {}
