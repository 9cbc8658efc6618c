"""Alerts against a real HTTP server in this process."""

import hashlib
import hmac
import json
import logging
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.serve.monitor import Alert, AlertConfig, Alerter, is_signed
from demur.serve.monitor._alerts import sign_body

from .conftest import NOON


class Receiver:
    """A server that answers with the statuses it is given, then 200, and keeps what it was sent."""

    def __init__(self):
        self.got, self.statuses, self.news = [], [], threading.Condition()
        self.is_slow = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.is_slow.is_set():
                    time.sleep(3)
                with receiver.news:
                    status = receiver.statuses.pop(0) if receiver.statuses else 200
                    receiver.got.append((dict(self.headers), body, status))
                    receiver.news.notify_all()
                self.send_response(status)
                if status == 302:
                    self.send_header("location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def wait(self, count, timeout_s=30):
        with self.news:
            assert self.news.wait_for(lambda: len(self.got) >= count, timeout_s), (
                f"{len(self.got)} of {count} came"
            )
        return self.got

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def alerter(store, receiver):
    """Maker of alerters of the receiver, closed in the end."""
    made = []

    def make(**values):
        defaults = {"webhook": f"http://127.0.0.1:{receiver.port}/hook", "first_wait_s": 0.01, "timeout_s": 10}
        made.append(Alerter(store, parse_settings(AlertConfig, defaults | values)))
        return made[-1]

    yield make
    for one in made:
        one.close(20)


def alert(id="a1", **values):
    defaults = {"kind": "drift", "task": "refusal", "message": "the last 250 answers differ", "facts": {"n": 1}}
    return Alert(id=id, at=NOON, **(defaults | values))


def wait_until(condition, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_an_alert_is_delivered_as_json(alerter, receiver):
    one = alerter()
    one.send(alert())
    ((headers, body, _),) = receiver.wait(1)
    assert json.loads(body) == alert().to_json()
    assert headers["x-demur-alert"] == "a1"
    assert "x-demur-signature" not in headers
    wait_until(lambda: one.waiting() == [])


def test_a_delivery_is_signed_so_that_others_cannot_make_one(alerter, receiver):
    alerter(secret="a key of ours").send(alert())
    ((headers, body, _),) = receiver.wait(1)
    stamp, signature = headers["x-demur-timestamp"], headers["x-demur-signature"]
    wanted = hmac.new(b"a key of ours", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signature == f"sha256={wanted}"
    assert is_signed("a key of ours", body, stamp, signature)
    assert not is_signed("another key", body, stamp, signature)
    assert not is_signed("a key of ours", body + b" ", stamp, signature)
    assert not is_signed("a key of ours", body, "no time", signature)
    assert not is_signed("a key of ours", body, stamp, "sha256=é")


def test_an_old_delivery_is_not_taken_again():
    headers = sign_body("k", b"{}", time.time() - 1000)
    assert not is_signed("k", b"{}", headers["x-demur-timestamp"], headers["x-demur-signature"])
    assert is_signed("k", b"{}", headers["x-demur-timestamp"], headers["x-demur-signature"], tolerance_s=2000)


def test_a_failed_delivery_is_tried_again(alerter, receiver):
    receiver.statuses = [500, 503]
    one = alerter()
    one.send(alert())
    assert [status for _, _, status in receiver.wait(3)] == [500, 503, 200]
    wait_until(lambda: one.waiting() == [])


def test_a_redirection_is_not_followed(alerter, receiver):
    receiver.statuses = [302]
    alerter().send(alert())
    assert [status for _, _, status in receiver.wait(2)] == [302, 200]


def test_after_so_many_attempts_it_is_given_up(alerter, receiver, store):
    receiver.statuses = [500] * 10
    one = alerter(attempts=3)
    one.send(alert())
    wait_until(lambda: one.given_up == 1)
    assert len(receiver.got) == 3
    assert one.waiting() == []
    assert store.monitor_state("alert/a1")["problem"] == "status 500"


def test_waits_double(store):
    one = Alerter(store, parse_settings(AlertConfig, {"webhook": "http://127.0.0.1:9/x", "first_wait_s": 8}))
    one._keep(alert())
    waits, now = [], NOON
    for _ in range(4):
        assert one.deliver_due(now) == 0
        (kept,) = one.waiting()
        waits.append(time_of(kept["next_at"], now))
        now += timedelta(seconds=waits[-1])
    assert all(8 * 2**n * 0.8 <= wait <= 8 * 2**n * 1.2 for n, wait in enumerate(waits))
    assert one.waiting()[0]["problem"] == "ConnectError"


def time_of(stamp, now):
    return (type(now).fromisoformat(stamp) - now).total_seconds()


def test_the_same_event_is_told_once(alerter, receiver, store):
    one = alerter()
    for _ in range(3):
        one.send(alert())
    wait_until(lambda: store.monitor_state("alert/a1")["ended"] == "delivered")
    one.send(alert())
    one.send(alert("a2"))
    receiver.wait(2)
    assert [headers["x-demur-alert"] for headers, _, _ in receiver.got] == ["a1", "a2"]


def test_what_waits_is_delivered_after_a_restart(alerter, receiver, store):
    first = Alerter(store, parse_settings(AlertConfig, {"webhook": "http://127.0.0.1:9/nobody"}))
    first._keep(alert())
    second = alerter()
    second.resume()
    receiver.wait(1)


def test_nothing_is_delivered_while_another_process_leads(alerter, receiver):
    one = alerter()
    one.pause()
    one._keep(alert())
    assert one.deliver_due(NOON) == 0
    assert receiver.got == []
    one.resume()
    receiver.wait(1)


def test_sending_does_not_wait_for_a_slow_receiver(alerter, receiver):
    receiver.is_slow.set()
    one = alerter()
    one.send(alert("a1"))
    started = time.monotonic()
    one.send(alert("a2"))
    assert time.monotonic() - started < 2.5
    receiver.is_slow.clear()


def test_only_so_many_wait_and_the_oldest_go_first(store):
    one = Alerter(store, parse_settings(AlertConfig, {"webhook": "http://127.0.0.1:9/x", "max_waiting": 3}))
    for number in range(5):
        one._keep(alert(f"a{number}"))
    assert [kept["alert"]["id"] for kept in one.waiting()] == ["a2", "a3", "a4"]
    assert one.given_up == 2


def test_delivered_ones_are_forgotten_after_a_week(store, alerter, receiver):
    one = alerter()
    one.send(alert("a1"))
    wait_until(lambda: store.monitor_state("alert/a1")["ended"] == "delivered")
    one._tidy(NOON + timedelta(days=6))
    assert store.monitor_state("alert/a1")
    one._tidy(NOON + timedelta(days=8))
    assert store.monitor_state("alert/a1") is None


def test_without_a_webhook_the_log_is_all(store, caplog):
    with caplog.at_level(logging.WARNING):
        Alerter(store).send(alert())
    assert "the last 250 answers differ" in caplog.text
    assert store.monitor_states("alert/") == {}


@pytest.mark.parametrize("address", ["ftp://example.org/x", "nowhere"])
def test_a_webhook_that_is_no_http_address_is_refused(store, address):
    with pytest.raises(ConfigError, match="no http or https address"):
        Alerter(store, parse_settings(AlertConfig, {"webhook": address}))


def test_a_secret_by_name_needs_somebody_who_looks_it_up(store):
    config = parse_settings(AlertConfig, {"webhook": "${secret:HOOK}"})
    with pytest.raises(ConfigError, match="'HOOK' cannot be looked up"):
        Alerter(store, config)
    found = Alerter(store, config, lambda text: text.fill(lambda name: f"https://{name}.example.org/x"))
    assert found._address() == "https://HOOK.example.org/x"
