"""The last line of defence: secrets that were looked up are struck out of what is about to be written.

Nothing in demur writes a secret on purpose; this catches what libraries put into their own messages.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from demur.serve.secrets._text import MASK

_SHORTEST = 6
"""A shorter text would strike out parts of ordinary words."""
_PLAIN = logging.Formatter()
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"} - {"exc_text", "stack_info"}
"""What every record has; the message is treated apart."""


class Redactor:
    """Knows texts and replaces them by stars, also where they stand percent-encoded; safe with threads."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def learn(self, secret: str) -> None:
        """Strike this out from now on; of a URL with a password that alone, so that the host stays readable."""
        text = unquote(_password_of(secret) or "") or secret
        forms = {form for form in (text, quote(text, safe=""), quote(text)) if len(form) >= _SHORTEST}
        with self._lock:
            if forms <= self._known:
                return
            self._known |= forms
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def redact(self, text: str) -> str:
        """The text with stars for everything known."""
        pattern = self._pattern
        return text if pattern is None else pattern.sub(MASK, text)


class RedactSecrets(logging.Filter):
    """A filter for a handler of ``logging``: message, further fields and traceback lose what is known.

    Put it on handlers; a filter on a logger does not see what its children log.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true; the record is changed."""
        if record.exc_info:
            record.exc_text = record.exc_text or _PLAIN.formatException(record.exc_info)
            record.exc_info = None
        for name in set(vars(record)) - _STANDARD:
            setattr(record, name, self._strike(getattr(record, name)))
        record.msg, record.args = self._redactor.redact(_message_of(record)), ()
        return True

    def _strike(self, value: Any) -> Any:
        """A further field of a record, at any depth."""
        if isinstance(value, dict):
            return {key: self._strike(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._strike(item) for item in value]
        return self._redactor.redact(value) if isinstance(value, str) else value


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit; a log line must not end a request
        return str(record.msg)


def _password_of(secret: str) -> str | None:
    """The password of a URL as it stands there, or None."""
    try:
        parts = urlsplit(secret)
        return parts.password if parts.scheme and parts.hostname else None
    except ValueError:
        return None
