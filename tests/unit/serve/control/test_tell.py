import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from demur.config import parse_settings
from demur.serve import ServeConfig
from demur.serve.control._tell import make_alerts, make_tell

FACTS = {"retraining": "r1", "task": "refusal", "reason": "it is worse"}


@pytest.fixture
def webhook():
    """A receiver: its address, and what it was sent."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    thread.join()
    server.server_close()


def settings(url, webhook=None, **values):
    return parse_settings(ServeConfig, {"database": {"url": url}, "alerts": {"webhook": webhook}} | values)


def test_what_is_told_is_logged(store, url, caplog):
    make_tell(settings(url), store)("retrain.rejected", FACTS)
    assert [record.message for record in caplog.records] == ["retrain.rejected: it is worse"]


def test_it_is_kept_and_delivered_once_by_whoever_delivers(store, url, webhook, until):
    address, got = webhook
    config = settings(url, address, monitor={"enabled": False})
    tell = make_tell(config, store)
    for _ in range(2):
        tell("retrain.rejected", FACTS)
    assert got == []
    step = make_alerts(config, store)
    step.run(None)
    until(lambda: got)
    step.run(None)
    step.close()
    assert len(got) == 1
    assert b"it is worse" in got[0]


def test_the_monitor_delivers_where_there_is_one(store, url):
    assert make_alerts(settings(url, "http://127.0.0.1/"), store) is None
    assert make_alerts(settings(url), store) is None
