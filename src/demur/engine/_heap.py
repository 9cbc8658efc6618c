"""Memory that was freed but that the C library keeps: training on rows of all lengths leaves gigabytes of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

_EVERY = 10
"""Steps; a call takes milliseconds, and so many steps leave some hundred megabytes."""


def give_back_heap(step: int = 0) -> bool:
    """Hand freed memory back to the system, after every tenth step; whether any was.

    Does nothing where the C library is not glibc.
    """
    trim = None if step % _EVERY else _find_trim()
    return trim is not None and trim(0) == 1


@cache
def _find_trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # macOS, musl, Windows
        return None
    return found
