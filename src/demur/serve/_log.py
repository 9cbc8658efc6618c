"""The log: one JSON object a line on standard error, written by a thread so that no request waits for it.

No line holds a text of a user: errors are named by type and place, and their messages left out.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from demur.serve._config import LogConfig
    from demur.serve.secrets import Redactor

_MOST_WAITING = 10_000
"""Lines that wait for a reader; more are left out."""
_REST_S = 0.02
"""How long a line may wait for others that are written in the same go."""
_NOISY = ("alembic", "httpx", "httpcore", "urllib3", "asyncio", "uvicorn")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; ``extra={"facts": {...}}`` adds keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": os.getpid(),
            "source": record.name,
            "event": _message_of(record),
        }
        told.update(getattr(record, "facts", {}))
        told.update(_describe(record))
        return json.dumps(told, default=str)


class _NameErrors(logging.Filter):
    """Notes the type and place of an error before others take it from the record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        record.facts = {**getattr(record, "facts", {}), **_describe(record)}
        record.exc_info = record.exc_text = None
        return True


class _Quiet(logging.StreamHandler[TextIO]):
    """A handler that drops a line it cannot write: what the standard library says then quotes all of it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing."""


def _message_of(record: logging.LogRecord) -> str:
    """The message; of asyncio its first line, for those after it quote errors."""
    message = record.getMessage()
    return message.partition("\n")[0] if record.name == "asyncio" else message


def _describe(record: logging.LogRecord) -> dict[str, Any]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    frames = traceback.extract_tb(record.exc_info[2])[-8:]
    where = [f"{one.filename.rpartition('/')[2]}:{one.lineno} {one.name}" for one in frames]
    return {"error": record.exc_info[0].__name__, "where": where}


def _catch_the_rest() -> Callable[[], None]:
    """Log errors that nobody caught, which Python would print with their messages; what it returns ends that."""
    log = logging.getLogger("demur.serve")
    before = sys.excepthook, threading.excepthook, sys.unraisablehook

    def catch(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.error("nobody caught an error", exc_info=(kind, error or kind(), trace))

    sys.excepthook = catch
    threading.excepthook = lambda args: catch(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: catch(args.exc_type, args.exc_value, args.exc_traceback)

    def stop() -> None:
        sys.excepthook, threading.excepthook, sys.unraisablehook = before

    return stop


class _Keep(QueueHandler):
    """Hands records over as they are; where too many wait, the newest is left out."""

    queue: SimpleQueue[Any]

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Nothing: the record stays in this process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand over, or leave out."""
        if self.queue.qsize() < _MOST_WAITING:
            self.queue.put_nowait(record)


class _Listener(QueueListener):
    """Writes what waits, then rests a little: woken for every line, it would stand in the way of who answers."""

    queue: SimpleQueue[Any]

    def dequeue(self, block: bool) -> logging.LogRecord:
        """The next record."""
        if block and self.queue.empty():
            time.sleep(_REST_S)
        record: logging.LogRecord = self.queue.get(block)
        return record


def start_log(
    config: LogConfig, redactor: Redactor | None = None, out: TextIO | None = None
) -> Callable[[], None]:
    """Log to standard error from now on; what it returns ends that, with every line written.

    Parameters
    ----------
    config
        The least level shown.
    redactor
        Knows secrets that no line may hold.
    out
        In place of standard error.
    """
    from demur.serve.secrets import RedactSecrets

    handler = _Quiet(out or sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(_NameErrors())
    if redactor is not None:
        handler.addFilter(RedactSecrets(redactor))
    waiting: SimpleQueue[Any] = SimpleQueue()  # half the cost of a Queue, for whoever answers
    root, keep = logging.getLogger(), _Keep(waiting)
    before = root.level
    root.addHandler(keep)
    root.setLevel(config.level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    listener = _Listener(waiting, handler)
    listener.start()
    let_go = _catch_the_rest()

    def stop() -> None:
        let_go()
        root.removeHandler(keep)
        root.setLevel(before)
        logging.captureWarnings(False)
        listener.stop()

    return stop
