import asyncio
import gc
import io
import json
import logging
import sys
import threading
import warnings

import pytest

from demur.serve._config import LogConfig
from demur.serve._log import JsonFormatter, start_log
from demur.serve.secrets import Redactor


@pytest.fixture
def log():
    """Starts the log into a text, and gives its lines when it is ended."""
    stops = []

    def start(redactor=None, **config):
        out = io.StringIO()
        stop = start_log(LogConfig(**config), redactor, out)
        stops.append(stop)

        def end():
            stops.remove(stop)
            stop()
            return [json.loads(line) for line in out.getvalue().splitlines()]

        return end

    yield start
    for stop in stops:
        stop()


def test_a_line_is_an_object_with_time_place_and_facts(log):
    end = log()
    logging.getLogger("demur.serve.test").warning("an event", extra={"facts": {"count": 3}})
    (line,) = end()
    assert (line["event"], line["level"], line["source"], line["count"]) == (
        "an event",
        "warning",
        "demur.serve.test",
        3,
    )
    assert line["at"].endswith("+00:00")


def test_an_error_is_named_by_type_and_place_without_its_message(log):
    end = log()
    try:
        raise ValueError("a text of a user")
    except ValueError:
        logging.getLogger("demur.serve.test").exception("failed")
    (line,) = end()
    assert line["error"] == "ValueError"
    assert line["where"][0].startswith("test_log.py:")
    assert "a text of a user" not in json.dumps(line)


def test_levels_below_the_least_are_left_out(log):
    end = log(level="error")
    logging.getLogger("demur.serve.test").warning("not this")
    logging.getLogger("demur.serve.test").error("this")
    assert [line["event"] for line in end()] == ["this"]


def test_secrets_are_struck_out(log):
    redactor = Redactor()
    redactor.learn("hunter2hunter2")
    end = log(redactor)
    logging.getLogger("demur.serve.test").error("connecting with %s", "hunter2hunter2")
    assert "hunter2" not in end()[0]["event"]


def test_warnings_are_lines(log):
    end = log()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("something is off", stacklevel=1)
    assert "something is off" in end()[0]["event"]


def test_ending_leaves_logging_as_it_was(log):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    log()()
    assert (root.level, list(root.handlers)) == before


def test_a_line_never_breaks():
    record = logging.makeLogRecord({"msg": "a\nb", "levelname": "INFO", "name": "x"})
    assert "\n" not in JsonFormatter().format(record)


def test_the_type_and_place_of_an_error_are_told_where_secrets_are_struck_out_too(log):
    redactor = Redactor()
    redactor.learn("hunter2hunter2")
    end = log(redactor)
    try:
        raise ValueError("a text of a user and hunter2hunter2")
    except ValueError:
        logging.getLogger("demur.serve.test").exception("failed")
    (line,) = end()
    assert (line["error"], line["where"][0].split(":")[0]) == ("ValueError", "test_log.py")
    assert "a text of a user" not in json.dumps(line)


def test_errors_that_nobody_caught_are_lines_without_their_messages(log, capsys):
    def fail():
        raise ValueError("a text of a user")

    async def forget():
        asyncio.get_running_loop().create_task(fail_later())
        await asyncio.sleep(0.01)
        gc.collect()

    async def fail_later():
        fail()

    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    end = log(Redactor())
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    asyncio.run(forget())
    try:
        fail()
    except ValueError:
        sys.excepthook(*sys.exc_info())
    lines = end()
    assert [line["error"] for line in lines] == ["ValueError"] * 3
    assert "a text of a user" not in json.dumps(lines) + "".join(capsys.readouterr())
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == hooks


def test_a_line_that_cannot_be_made_quotes_nothing(log, capsys):
    end = log()
    logging.getLogger("demur.serve.test").error("no line", extra={"facts": {(1,): "a text of a user"}})
    logging.getLogger("demur.serve.test").error("after")
    assert [line["event"] for line in end()][-1] == "after"
    assert "a text of a user" not in capsys.readouterr().err


def test_a_line_is_plain_ascii():
    """A terminal obeys some characters beyond ASCII, and some readers take others for the end of a line."""
    record = logging.makeLogRecord({"msg": "a\u2028b\x9b31mc\u202e", "levelname": "INFO", "name": "x"})
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert json.loads(line)["event"] == "a\u2028b\x9b31mc\u202e"
