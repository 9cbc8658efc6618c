"""Which subjects have been counted: a set that never forgets one, in a few bytes each.

It may take a new subject for a known one, with a chance of about 1 %, by the subject's hash and never by what was
observed of it: such a subject is left out of the test, which makes the test no less valid.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any, Self

from demur.errors import DataError

_FIRST_BITS = 1 << 15
_HASHES = 7
_BITS_EACH = 10
"""Bits for each member: at 10 a filter with 7 hashes errs once in 120."""


class SeenSet:
    """Names that were added, as a chain of Bloom filters of growing size.

    References
    ----------
    Bloom, Space/time trade-offs in hash coding with allowable errors, Commun. ACM 13(7), 1970; Almeida, Baquero,
    Preguiça and Hutchison, Scalable Bloom filters, Inf. Process. Lett. 101(6), 2007, section 3, for the chain.
    """

    def __init__(self) -> None:
        self.n = 0
        self._filters: list[bytearray] = []
        self._room = 0
        """How many more the last filter takes."""

    def add(self, name: str) -> bool:
        """Add a name; whether it is new."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        first, second = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1
        if any(self._has(one, first, second) for one in self._filters):
            return False
        if not self._room:
            bits = _FIRST_BITS << len(self._filters)
            self._filters.append(bytearray(bits // 8))
            self._room = bits // _BITS_EACH
        last = self._filters[-1]
        for place in _places(last, first, second):
            last[place >> 3] |= 1 << (place & 7)
        self.n, self._room = self.n + 1, self._room - 1
        return True

    @staticmethod
    def _has(bits: bytearray, first: int, second: int) -> bool:
        return all(bits[place >> 3] >> (place & 7) & 1 for place in _places(bits, first, second))

    def to_json(self) -> dict[str, Any]:
        """Everything there is to know, as plain values that :meth:`from_json` reads."""
        packed = [base64.b64encode(zlib.compress(bytes(one), 6)).decode("ascii") for one in self._filters]
        return {"n": self.n, "room": self._room, "filters": packed}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The set that :meth:`to_json` wrote.

        Raises
        ------
        DataError
            It is no such state; start anew.
        """
        made = cls()
        try:
            made.n, made._room = int(state["n"]), int(state["room"])
            made._filters = [bytearray(zlib.decompress(base64.b64decode(one))) for one in state["filters"]]
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise DataError(f"this is no set of subjects that were counted ({error}); start anew") from None
        return made


def _places(bits: bytearray, first: int, second: int) -> list[int]:
    size = len(bits) * 8
    return [(first + number * second) % size for number in range(_HASHES)]
