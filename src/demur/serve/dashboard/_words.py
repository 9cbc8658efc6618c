"""How the page writes times, shares and whatever somebody else wrote."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""What a browser does not show, or what changes how the rest of a page reads; tab and line end are left."""
MISSING = "—"


def shown(value: Any) -> str:
    """A text of somebody else's with a visible sign for every character that would not be seen."""
    return MISSING if value is None else _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(value))


def when(at: datetime | str | None) -> str:
    """A time in UTC, to the minute: ``4 May 12:05``."""
    found = to_time(at)
    return MISSING if found is None else f"{found.day} {found:%b %H:%M}"


def to_time(value: datetime | str | None) -> datetime | None:
    """A time, also from its text; None where it is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return None if value is None else value.astimezone(UTC)


def share(value: float | None, digits: int = 1) -> str:
    """A share in per cent; one too small for its digits is said to be less."""
    if value is None:
        return MISSING
    least = 10**-digits
    if 0 < value * 100 < least / 2:
        return f"<{least:g} %"
    return f"{100 * value:.{digits}f} %"


def milliseconds(value: float | None) -> str:
    """A time in ms with as many decimals as its size bears."""
    if value is None:
        return MISSING
    return f"{value:,.0f} ms".replace(",", "\u202f") if value >= 100 else f"{value:.1f} ms"


def size(count: float) -> str:
    """A number of bytes."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def ago(length: timedelta) -> str:
    """A stretch of time in its largest unit: ``3 min``, ``2 h``, ``5 days``."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86_400)} days"


def plain(name: str) -> str:
    """A name of ours as words: ``rolled_back`` becomes ``rolled back``."""
    return name.replace("_", " ")
