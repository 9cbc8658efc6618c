"""What a worker knows of keys that begins while the database does not answer: what another worker read last.

Only hashes of keys are kept, in the folder that the processes of one server share and that goes with it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import StoreUnavailableError
from demur.paths import write_json

if TYPE_CHECKING:
    from demur.store import KeyRow

_LOG = logging.getLogger("demur.serve.worker")
_TIMES = ("at", "revoked_at")


class OldKeys(list["KeyRow"]):
    """Keys as they were a while ago."""

    def __init__(self, rows: Iterable[KeyRow], age_s: float) -> None:
        super().__init__(rows)
        self.age_s = age_s


class KnownKeys:
    """The keys of the store; those of the file where the store does not answer and never has in this process.

    Parameters
    ----------
    read
        Gives the keys of the store.
    path
        The file, shared by the workers of a server.
    """

    def __init__(self, read: Callable[[], Sequence[KeyRow]], path: Path) -> None:
        self._read, self._path = read, path
        self._has_read = False

    def read(self) -> Sequence[KeyRow]:
        """All keys, of now or :class:`OldKeys`.

        Raises
        ------
        StoreUnavailableError
            The store does not answer, and this process has read it before or no other ever has.
        """
        try:
            rows = self._read()
        except StoreUnavailableError:
            found = None if self._has_read else self._recall()
            if found is None:
                raise
            return found
        self._has_read = True
        with suppress(OSError):  # it is for others, and they can do without
            write_json(self._path, {"read_at": time.time(), "keys": [_to_json(row) for row in rows]})
        return rows

    def _recall(self) -> OldKeys | None:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        age_s = max(0.0, time.time() - found["read_at"])
        _LOG.warning("the database does not answer; keys are those of %.0f s ago", age_s)
        return OldKeys([_from_json(one) for one in found["keys"]], age_s)


def _to_json(row: KeyRow) -> dict[str, Any]:
    values = asdict(row)
    return values | {name: values[name] and values[name].isoformat() for name in _TIMES}


def _from_json(values: dict[str, Any]) -> KeyRow:
    from demur.store import KeyRow

    return KeyRow(**values | {name: values[name] and datetime.fromisoformat(values[name]) for name in _TIMES})
