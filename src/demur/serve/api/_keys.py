"""Who asks: keys of the store, kept for a few seconds, and what a route takes to be called.

Making and hashing keys is left to ``demur.store``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from demur.errors import DemurError
from demur.serve.api._errors import ApiError, describe_error

if TYPE_CHECKING:
    from demur.serve._config import KeysConfig
    from demur.store import KeyRow

_LOG = logging.getLogger(__name__)
_AGAIN_S = 1.0
"""A key that is not known may be new: the store is asked again, at most this often."""
_PATIENCE_S = 2.0
"""How long a request waits for the store at most, where keys are known that can be trusted."""
_LONGEST_S = 30.0
"""How long where there are none."""
Scope = Literal["public", "classify", "feedback", "admin", "metrics"]
ACCESS = "x-demur-access"


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    key_id: str | None = None
    """None: nobody knows."""
    scopes: frozenset[str] = frozenset()
    rate_per_s: float | None = None


def needs(scope: Scope) -> dict[str, Any]:
    """What a route says of itself as ``openapi_extra``: the scope that a key must have to call it.

    Parameters
    ----------
    scope
        ``public``: no key at all; ``metrics``: as the configuration says.
    """
    told: dict[str, Any] = {ACCESS: {"scope": scope}}
    if scope != "public":
        told["security"] = [{"key": []}]
    return told


class Keyring:
    """The keys of the store, read again every few seconds and whenever an unknown one is shown.

    Parameters
    ----------
    read
        Gives all keys; called in a thread.
    config
        How long they are trusted.
    clock
        Seconds that only ever grow.
    patience_s
        How long the store is waited for where keys are known that can be trusted.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[KeyRow]],
        config: KeysConfig,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._read, self._config, self._clock, self._patience_s = read, config, clock, patience_s
        self._rows: dict[str, KeyRow] = {}
        self._at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_trusted(self) -> bool:
        """Whether the keys were read lately enough."""
        return self._clock() - self._at <= self._config.refresh_s + self._config.stale_s

    async def refresh(self) -> None:
        """Read the keys now; one reading at a time, whoever asks.

        A database that says nothing is not waited for long where there are keys that can be trusted without it.
        """
        if self._reading is None or self._reading.done():
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._read_again())
        await asyncio.wait({self._reading}, timeout=self._patience_s if self.is_trusted else _LONGEST_S)

    async def find(self, text: str) -> KeyRow | None:
        """The row of a key given as text, or None where it is no key or revoked.

        Raises
        ------
        ApiError
            Keys cannot be read and those known are too old to be trusted (503).
        """
        from demur.store import is_key, key_id

        row = await self._look_up(key_id(text))
        return row if is_key(text, row) else None

    async def recall(self, id: str) -> KeyRow | None:
        """The row of a key that was shown earlier, by its id; None where it was revoked since.

        Raises
        ------
        ApiError
            As for :meth:`find`.
        """
        row = await self._look_up(id)
        return row if row is not None and row.revoked_at is None else None

    async def _look_up(self, id: str | None) -> KeyRow | None:
        """The row of an id, from the keys that are kept or, where that may help, as the store has them now."""
        is_strange = id is not None and id not in self._rows
        is_old = self._clock() - self._at > self._config.refresh_s
        is_reading = self._reading is not None and not self._reading.done()
        if is_reading and (is_strange or not self.is_trusted):
            await self.refresh()  # what is being read may say of it
        elif (is_strange or is_old) and self._clock() - self._tried_at > _AGAIN_S:
            await self.refresh()
        if not self.is_trusted:
            raise ApiError(503, "keys cannot be checked now; try again later", headers={"Retry-After": "5"})
        return self._rows.get(id) if id is not None else None

    async def _read_again(self) -> None:
        try:
            rows = await asyncio.to_thread(self._read)
        except DemurError as error:
            _LOG.warning("keys cannot be read: %s", error)
            return
        except Exception as error:  # of a driver: those who wait are told that keys cannot be checked
            _LOG.error("keys cannot be read", extra={"facts": describe_error(error)})
            return
        age_s = getattr(rows, "age_s", 0.0)  # those that another process read, while nobody answers this one
        self._rows, self._at = {row.id: row for row in rows}, self._clock() - age_s


class Gate:
    """Lets a request in, or says why not.

    Parameters
    ----------
    keyring
        The keys.
    is_required
        Whether classifying and feedback take a key.
    are_metrics_public
        Whether metrics are shown without one.
    """

    def __init__(self, keyring: Keyring, *, is_required: bool, are_metrics_public: bool = False) -> None:
        self._keyring = keyring
        self._is_required, self._are_metrics_public = is_required, are_metrics_public

    async def refresh(self) -> None:
        """Read the keys now."""
        await self._keyring.refresh()

    async def admit(self, headers: Mapping[str, str], access: Mapping[str, Any]) -> Caller:
        """Who asks, where they may.

        Raises
        ------
        ApiError
            There is no key, or a wrong one (401); its scopes are others (403); keys cannot be checked (503).
        """
        scope = access["scope"]
        if scope == "public" or (scope == "metrics" and self._are_metrics_public):
            return Caller()
        text = _shown_key(headers.get("authorization"))
        if text is None:
            if scope in ("classify", "feedback") and not self._is_required:
                return Caller(scopes=frozenset({"classify", "feedback"}))
            raise _unauthenticated("a key is needed; send it as Authorization: Bearer KEY")
        row = await self._keyring.find(text)
        if row is None:
            raise _unauthenticated("the key is not known, or revoked; make one with: demur store keys")
        return _caller(row, "admin" if scope == "metrics" else scope)

    async def recall(self, key_id: str, scope: Scope) -> Caller:
        """Who asks, where a session says so that began with their key.

        Raises
        ------
        ApiError
            The key was revoked since (401); its scopes are others (403); keys cannot be checked (503).
        """
        row = await self._keyring.recall(key_id)
        if row is None:
            raise _unauthenticated("the key of this session was revoked; log in with another")
        return _caller(row, scope)


def _caller(row: KeyRow, scope: Scope) -> Caller:
    """Who a key belongs to, if it opens a scope."""
    if scope not in row.scopes:
        raise ApiError(403, f"the key has not the scope '{scope}'; use one that has")
    return Caller(row.id, frozenset(row.scopes), row.rate_per_s)


def _shown_key(header: str | None) -> str | None:
    """The key in a header; the empty text where there is a header that holds none."""
    if header is None:
        return None
    kind, _, rest = header.strip().partition(" ")
    return rest.strip() if kind.lower() == "bearer" else ""


def _unauthenticated(message: str) -> ApiError:
    return ApiError(401, message, headers={"WWW-Authenticate": 'Bearer realm="demur"'})
