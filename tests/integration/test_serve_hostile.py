"""Clients who mean harm: the running guard refuses, in little time and memory, and goes on answering others."""

import gzip
import json
import os
import socket
import threading
import time

import httpx
import psutil
import pytest
from tests.integration.guards import ITEM, RunningGuard

JSON = "application/json"
SLOWEST_S = 20
LONGEST_S, MOST_GROWTH = 60, 160 * 2**20
"""On a machine busy with other work; answers take milliseconds and little memory on one that is not."""
PATHS = (
    "/v1/classify",
    "/v1/moderations",
    "/classify",
    "/v1/feedback",
    "/admin/keys",
    "/admin/models",
    "/admin/experiments",
    "/admin/drift/references",
    "/admin/retrain",
)


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    from demur.models.rules import RulesClassifier
    from demur.tasks import REFUSAL

    folder = tmp_path_factory.mktemp("hostile")
    RulesClassifier(REFUSAL).save(folder / "refusal")
    running = RunningGuard(folder, [folder / "refusal"], limits={"timeout_s": SLOWEST_S}, text={"log": "none"})
    yield running
    try:
        assert running.process.poll() is None
        lines = [json.loads(line) for line in running.log.read_text().splitlines()]
        assert [one for one in lines if one.get("status", 0) >= 500 or one["level"] == "error"] == []
    finally:
        running.kill()


def memory(guard):
    """Of the largest worker."""
    return max(psutil.Process(pid).memory_info().rss for pid in guard.workers())


class Watch:
    """Somebody else, who asks all the time while others do harm, and what memory the workers have meanwhile."""

    def __init__(self, guard):
        self.guard, self.latencies, self.statuses = guard, [], set()
        self.before = self.most = memory(guard)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        with self.guard.client() as client:
            while not self.latencies or not self._is_over.wait(0.05):
                started = time.monotonic()
                self.statuses.add(client.post("/v1/classify", json={"input": ITEM}).status_code)
                self.latencies.append(time.monotonic() - started)
                self.most = max(self.most, memory(self.guard))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._is_over.set()
        self._thread.join()
        assert self.statuses == {200}
        assert max(self.latencies) < LONGEST_S
        assert self.most - self.before < MOST_GROWTH, f"{self.before >> 20} to {self.most >> 20} MiB"


BODIES = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"input":' * 100_000 + b"1" + b"}" * 100_000,
    "items": b'{"input":[' + b",".join([b'{"prompt":"a"}'] * 69_000) + b"]}",
    "numbers": b'{"input":[' + b",".join([b"1"] * 500_000) + b"]}",
    "keys": b"{" + b",".join(b'"k%d":1' % number for number in range(80_000)) + b"}",
    "bad utf-8": b'{"input":{"prompt":"\xff\xfe\x80"}}',
    "surrogate in utf-8": b'{"input":{"prompt":"\xed\xa0\x80"}}',
    "surrogate": b'{"input":{"prompt":"\\ud800"},"name":"\\udfff","folder":"\\ud800"}',
    "utf-16": '{"input":{"prompt":"a"}}'.encode("utf-16"),
    "byte-order mark": b"\xef\xbb\xbf" + b'{"input":{"prompt":"a"}}',
    "nan": b'{"input":NaN}',
    "infinity": b'{"input":{"prompt":-Infinity}}',
    "huge number": b'{"input":' + b"9" * 900_000 + b"}",
    "huge exponent": b'{"input":1e999999}',
    "gzip": gzip.compress(b'{"input":{"prompt":"' + b"a" * 50_000_000 + b'"}}'),
    "nul": b"\x00" * 1000,
    "cut": b'{"input":{"prompt":"a',
    "two": b'{"input":"a"}{"input":"b"}',
    "no object": b'"' + b"a" * 900_000 + b'"',
    "null": b"null",
    "empty": b"",
    "spaces": b" " * 1_000_000,
    "large": b'{"input":"' + b"a" * 50_000_000 + b'"}',
}


def post(client, path, content, **headers):
    try:
        return client.post(path, content=content, headers={"Content-Type": JSON} | headers)
    except httpx.TransportError:  # it was answered and closed while the body was still being sent
        return None


def check_refusal(answer, name):
    assert 400 <= answer.status_code < 500, (name, answer.status_code)
    error = answer.json()["error"]
    assert set(error) == {"type", "message", "param", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    assert len(answer.content) < 1000


@pytest.mark.parametrize("path", PATHS)
def test_bodies_that_nobody_should_send_are_refused_in_little_time_and_memory(guard, path):
    with Watch(guard), guard.client() as client:
        for name, content in BODIES.items():
            started = time.monotonic()
            answer = post(client, path, content, **({"Content-Encoding": "gzip"} if name == "gzip" else {}))
            assert time.monotonic() - started < LONGEST_S, name
            assert answer is not None or name == "large"
            if answer is not None:
                check_refusal(answer, name)
        check_refusal(post(client, path, b"{}", **{"Content-Type": "text/plain"}), "type")
        check_refusal(post(client, path, b"{}", **{"Content-Type": "application/x-www-form-urlencoded"}), "form")


def test_strange_texts_are_judged_like_any_others(guard):
    texts = [
        "",
        "\x00",
        "\u200b\u202e\u2066",
        "e" + "\u0301" * 20_000,
        "\U0001f600" * 20_000,
        "Ã©" * 10_000,
        " " * 30_000,
    ]
    with guard.client() as client:
        answer = client.post("/v1/classify", json={"input": [{"response": one, "id": one[:9]} for one in texts]})
        assert answer.status_code == 200
        assert [one["id"] for one in answer.json()["results"]] == [one[:9] for one in texts]
        twice = post(client, "/v1/classify", b'{"input":{"response":"a"},"input":{"response":"b"}}')
        assert twice.status_code == 200  # of a key that is given twice the last counts


def connect(guard):
    found = socket.create_connection(("127.0.0.1", guard.port))
    found.settimeout(LONGEST_S)
    return found


def send(sock, parts):
    """Whatever is taken; a server that closes takes no more."""
    try:
        for part in parts:
            sock.sendall(part)
    except OSError:
        pass


def receive(sock):
    found = b""
    try:
        while part := sock.recv(65_536):
            found += part
    except OSError:
        pass
    return found


def head(guard, path="/v1/classify", *lines):
    known = [f"POST {path} HTTP/1.1", "Host: guard", f"Authorization: Bearer {guard.key}", f"Content-Type: {JSON}"]
    return "\r\n".join([*known, *lines, "", ""]).encode()


ENDLESS = {
    "headers": lambda guard: (head(guard)[:-2], [b"X: " + b"a" * 5000 + b"\r\n"]),
    "header": lambda guard: (head(guard)[:-2] + b"X: ", [b"a" * 65_536]),
    "path": lambda guard: (b"GET /", [b"a" * 65_536]),
    "trailers": lambda guard: (
        head(guard, "/v1/classify", "Transfer-Encoding: chunked") + b"0\r\n",
        [b"X: a\r\n" * 5000],
    ),
    "chunks": lambda guard: (
        head(guard, "/v1/classify", "Transfer-Encoding: chunked"),
        [b"10000\r\n" + b" " * 65_536 + b"\r\n"],
    ),
    "tiny chunks": lambda guard: (
        head(guard, "/v1/classify", "Transfer-Encoding: chunked"),
        [b"1\r\n \r\n" * 10_000],
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_cut_off(guard, name):
    beginning, rest = ENDLESS[name](guard)
    with Watch(guard), connect(guard) as sock:
        started = time.monotonic()
        send(sock, [beginning, *rest * 2000])
        answer = receive(sock)
        assert time.monotonic() - started < LONGEST_S
        assert not answer or 400 <= int(answer.split()[1]) < 500


def test_who_has_no_key_is_refused_before_the_body_is_read(guard):
    with Watch(guard), connect(guard) as sock:
        sock.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: guard\r\nContent-Length: 900000000\r\n\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 401")
        send(sock, [b"a" * 65_536] * 500)


@pytest.mark.slow
def test_slow_clients_are_not_waited_for(guard):
    """A head, or a body, of which a byte comes now and then, and connections that say nothing."""
    slow = [connect(guard) for _ in range(60)]
    try:
        for number, sock in enumerate(slow[:40]):
            whole = head(guard, PATHS[number % len(PATHS)], "Content-Length: 50")
            sock.sendall(whole[:-2] + b"X: " if number % 2 else whole)
        with Watch(guard):
            until = time.monotonic() + SLOWEST_S / 2
            while time.monotonic() < until:
                for sock in slow[:40]:
                    send(sock, [b"a"])
                time.sleep(0.5)
            answers = [receive(sock) for sock in slow]
        assert {one.split()[1] for one in answers[:40] if one} <= {b"408"}
        assert sum(bool(one) for one in answers[:40]) >= 30
        assert answers[40:] == [b""] * 20
    finally:
        for sock in slow:
            sock.close()


def test_many_requests_sent_at_once_on_one_connection_are_answered_in_order(guard):
    body = json.dumps({"input": ITEM}).encode()
    one = head(guard, "/v1/classify", f"Content-Length: {len(body)}") + body
    with Watch(guard), connect(guard) as sock:
        sock.sendall(one * 200 + b"GET /healthz HTTP/1.1\r\nHost: guard\r\nConnection: close\r\n\r\n")
        answers = receive(sock)
    assert answers.count(b"HTTP/1.1 200 OK") == 201
    assert answers.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/v1/classify", 405),
        ("OPTIONS", "/v1/classify", 405),
        ("TRACE", "/v1/classify", 405),
        ("PROPFIND", "/healthz", 405),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "//healthz", 404),
        ("GET", "/healthz/", 404),
        ("GET", "/%ff%00%0d%0aSet-Cookie:a=b", 404),
        ("DELETE", "/admin/keys/..%2f..%2fetc%2fpasswd", 404),
        ("DELETE", "/admin/keys/%00", 422),
        ("DELETE", "/admin/requests/" + "a" * 20_000, 422),
        ("GET", "/admin/experiments/%27%20OR%201=1--", 422),
        ("GET", "/admin/retrain/%2e%2e", 422),
        ("GET", "/admin/audit?actor=%00&act=%27%3B%20DROP%20TABLE%20demur_keys", 422),
        ("GET", "/admin/models?task=%27%20OR%20%271%27=%271", 422),
        ("GET", "/admin/drift/runs?task=%00", 422),
        ("GET", "/admin/audit?limit=999999999999999999999999", 422),
    ],
)
def test_paths_that_nobody_should_ask_for_are_refused(guard, method, path, status):
    with connect(guard) as sock:
        who = f"Authorization: Bearer {guard.key}"
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: guard\r\n{who}\r\nConnection: close\r\n\r\n".encode())
        answer = receive(sock)
    assert int(answer.split()[1]) == status, answer[:300]
    assert b"set-cookie" not in answer.lower()
    if method != "HEAD":
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["request_id"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: -5"],
        ["Content-Length: 1e3"],
        ["Transfer-Encoding: chunked, identity"],
        ["X-Request-Id: a\rSet-Cookie: b"],
        ["X-Request-Id : a"],
    ],
)
def test_requests_that_two_servers_would_read_differently_are_refused(guard, lines):
    with connect(guard) as sock:
        sock.sendall(head(guard, "/v1/classify", *lines) + b"hello")
        sock.shutdown(socket.SHUT_WR)
        answer = receive(sock)
    assert 400 <= int(answer.split()[1]) < 500
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"set-cookie" not in answer.lower()


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "tls/1.0"])
def test_nothing_but_http_is_spoken(guard, upgrade):
    with connect(guard) as sock:
        more = f"Connection: Upgrade, close\r\nUpgrade: {upgrade}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"
        sock.sendall(f"GET /v1/models HTTP/1.1\r\nHost: guard\r\n{more}Sec-WebSocket-Version: 13\r\n\r\n".encode())
        sock.shutdown(socket.SHUT_WR)
        answer = receive(sock)
    assert answer.startswith(b"HTTP/1.1 401")


def test_an_id_of_the_caller_can_forge_nothing(guard):
    ids = ["a b", "<script>", "x" * 65, "a~0193", '{"level":"error"}', "ä", "../x"]
    with guard.client() as client:
        for id in ids:
            answer = client.get("/v1/models", headers=[(b"X-Request-Id", id.encode())])
            assert answer.status_code == 200
            assert answer.headers["x-request-id"] not in ids
        given = client.post("/v1/classify", json={"input": ITEM}, headers={"X-Request-Id": "mine"})
        again = client.post("/v1/classify", json={"input": ITEM}, headers={"X-Request-Id": "mine"})
        assert given.json()["id"] != again.json()["id"]
        forged = "mine~" + "0" * 44
        body = {"id": forged, "task": "refusal", "label": "hard_refusal"}
        assert client.post("/v1/feedback", json=body).status_code == 404
    for line in guard.log.read_text().splitlines():
        assert isinstance(json.loads(line), dict)


def test_figures_have_no_label_that_a_caller_chooses(guard):
    with guard.client() as client:
        for number in range(20):
            client.request(f"MADE{number}", f"/made/up/{number}", headers={"X-Request-Id": f"glimmerwax-{number}"})
            client.get(f"/admin/retrain/glimmerwax{number}")
        text = client.get("/metrics").text
    assert "glimmerwax" not in text
    assert "made" not in text.lower()


def test_the_secret_of_the_server_is_for_its_owner_alone(guard):
    assert os.stat(guard.folder / "spool" / "secret.key").st_mode & 0o077 == 0
