"""The log: one JSON object a line on standard error, written by a thread so that no request waits for it.

No line holds a text of a user: errors are named by type and place, and their messages left out.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from demur.serve._config import LogConfig
    from demur.serve.secrets import Redactor

_MOST_WAITING = 10_000
"""Lines that wait for a reader; more are left out."""
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
            "event": record.getMessage(),
        }
        told.update(getattr(record, "facts", {}))
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])[-8:]
            told["error"] = record.exc_info[0].__name__
            told["where"] = [f"{one.filename.rpartition('/')[2]}:{one.lineno} {one.name}" for one in frames]
        return json.dumps(told, ensure_ascii=False, default=str)


class _Keep(QueueHandler):
    """Hands records over as they are; where too many wait, the newest is left out."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Nothing: the record stays in this process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand over, or leave out."""
        if self.queue.qsize() < _MOST_WAITING:
            self.queue.put_nowait(record)


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

    handler = logging.StreamHandler(out or sys.stderr)
    handler.setFormatter(JsonFormatter())
    if redactor is not None:
        handler.addFilter(RedactSecrets(redactor))
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()  # half the cost of a Queue, for whoever answers
    root, keep = logging.getLogger(), _Keep(waiting)
    before = root.level
    root.addHandler(keep)
    root.setLevel(config.level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    listener = QueueListener(waiting, handler)
    listener.start()

    def stop() -> None:
        root.removeHandler(keep)
        root.setLevel(before)
        logging.captureWarnings(False)
        listener.stop()

    return stop
