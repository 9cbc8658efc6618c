"""Rows as JSON on their way through the spool, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from demur.errors import BadRowError, UsageError, near_match
from demur.store._rows import FeedbackRow, PredictionRow

if TYPE_CHECKING:
    from demur.store._store import Store

Kind = Literal["predictions", "feedback"]
ROWS: dict[str, type[Any]] = {"predictions": PredictionRow, "feedback": FeedbackRow}
_FIELDS = {name: tuple(one.name for one in fields(row)) for name, row in ROWS.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row as it waits on disk."""

    kind: str
    request_id: str
    body: str


def encode(kind: str, rows: Sequence[Any]) -> list[Entry]:
    """Turn rows into entries.

    Raises
    ------
    UsageError
        There is no such kind of rows.
    BadRowError
        A row is of another kind, holds what JSON cannot, or a time that does not say its zone.
    """
    wanted = ROWS.get(kind)
    if wanted is None:
        raise UsageError(f"'{kind}' is no kind of rows{near_match(kind, ROWS)}; there are {', '.join(ROWS)}")
    found = []
    for row in rows:
        if type(row) is not wanted:
            raise BadRowError(f"a {type(row).__name__} was given as one of {kind}; give a {wanted.__name__}")
        values = {name: getattr(row, name) for name in _FIELDS[kind]}
        try:
            # Without a check for circles, which no row has.
            body = json.dumps(values, default=_encode_other, check_circular=False, separators=(",", ":"))
        except BadRowError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise BadRowError(f"a row of {kind} cannot be written as JSON ({type(error).__name__})") from None
        found.append(Entry(kind, str(row.request_id), body))
    return found


def decode(entry: Entry) -> Any:
    """Turn an entry back into its row.

    Raises
    ------
    BadRowError
        It is of no kind that this version knows, or has other fields.
    """
    wanted = ROWS.get(entry.kind)
    if wanted is None:
        raise BadRowError(f"a waiting row is of kind '{entry.kind}', which this version does not know")
    try:
        values = json.loads(entry.body)
        values["at"] = datetime.fromisoformat(values["at"])
        return wanted(**values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadRowError(f"a waiting row of {entry.kind} has other fields ({type(error).__name__})") from None


def inserter(kind: str, store: Store) -> Callable[[Sequence[Any]], int]:
    """What of a store takes rows of a kind."""
    return store.add_predictions if kind == "predictions" else store.add_feedback


def _encode_other(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError("no JSON")
    if value.tzinfo is None:
        raise BadRowError("a time has no zone; give times in UTC, as by datetime.now(UTC)")
    return value.isoformat()
