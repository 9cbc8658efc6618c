"""Column types that mean the same on SQLite and PostgreSQL: times in UTC, text without NUL, JSON without NaN."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Float, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from demur.errors import BadRowError

_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str) -> str:
    """The text with U+FFFD for NUL and lone surrogates, which PostgreSQL or UTF-8 cannot hold."""
    return _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def clean_json(value: Any) -> Any:
    """A JSON value whose texts are clean and whose NaN and infinities are None, since JSON has none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    return value


class Utc(TypeDecorator[datetime]):
    """A time in UTC: ``timestamptz`` on PostgreSQL, text that sorts as time on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time that does not say its zone, and turn any other into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise BadRowError("a time has no zone; give times in UTC, as by datetime.now(UTC)")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the time back in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text of any length, cleaned."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what cannot be stored."""
        return None if value is None else clean_text(value)


class CleanJson(TypeDecorator[Any]):
    """JSON, cleaned; ``jsonb`` on PostgreSQL. None is NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """``jsonb`` where there is one."""
        kind = JSONB(none_as_null=True) if dialect.name == "postgresql" else JSON(none_as_null=True)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Replace what cannot be stored."""
        return clean_json(value)


class FiniteFloat(TypeDecorator[float]):
    """A double that is a number: NaN would be NULL on SQLite and a value above all others on PostgreSQL."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """Refuse NaN and infinities."""
        if value is not None and not math.isfinite(value):
            raise BadRowError("a score or latency is not a finite number; store None where there is none")
        return value
