"""Records of answers: what is kept of a text, and when an answer may leave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from demur.errors import DemurError

if TYPE_CHECKING:
    from demur.serve._identity import Identity
    from demur.serve.api._metrics import Metrics
    from demur.serve.pool import Texts
    from demur.store.spool import Spool

_LOG = logging.getLogger(__name__)
_MOST_BEHIND = 10_000
"""Puts under way that nobody waits for; more are given up."""
Mode = Literal["off", "best_effort", "durable"]
TextLog = Literal["full", "hashed", "none"]


class Recorder:
    """Puts rows into the spool, as surely as was asked for.

    Parameters
    ----------
    spool
        Where they wait for the database.
    mode
        ``durable``: they are there when the call comes back, or it fails; ``best_effort``: soon, or counted as
        lost; ``off``: never.
    metrics
        Counts them.
    """

    def __init__(self, spool: Spool, mode: Mode, metrics: Metrics) -> None:
        self._spool, self.mode, self._metrics = spool, mode, metrics
        self._behind: set[asyncio.Task[None]] = set()

    async def put(
        self, kind: Literal["predictions", "feedback"], rows: Sequence[Any], mode: Mode | None = None
    ) -> None:
        """Record rows.

        Raises
        ------
        SpoolFullError, StorageError
            They cannot be recorded now and must be; nothing of them was.
        """
        mode = mode or self.mode
        if mode == "off" or not rows:
            return
        if mode == "durable":
            await self._put(kind, rows)
        elif len(self._behind) >= _MOST_BEHIND:
            self._metrics.recorded("lost", len(rows))
        else:
            task = asyncio.create_task(self._put_or_lose(kind, rows))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)

    async def flush(self) -> None:
        """Wait for what nobody waits for."""
        while self._behind:
            await asyncio.gather(*self._behind, return_exceptions=True)

    async def _put(self, kind: Any, rows: Sequence[Any]) -> None:
        try:
            await self._spool.aput(kind, rows)
        except DemurError:
            self._metrics.recorded("refused", len(rows))
            raise
        self._metrics.recorded("kept", len(rows))

    async def _put_or_lose(self, kind: Any, rows: Sequence[Any]) -> None:
        try:
            await self._put(kind, rows)
        except DemurError as error:
            self._metrics.recorded("lost", len(rows))
            _LOG.warning("%d rows of %s were lost: %s", len(rows), kind, error)


@dataclass(frozen=True, slots=True)
class KeptText:
    """What a record says of the texts of an item."""

    prompt: str | None = None
    response: str | None = None
    prompt_hash: str | None = None
    response_hash: str | None = None


def keep_text(texts: Texts, log: TextLog, identity: Identity) -> KeptText:
    """Texts as they are, keyed hashes, both or neither."""
    if log == "none":
        return KeptText()
    hashes = [None if text is None else identity.hash_text(text) for text in (texts.prompt, texts.response)]
    if log == "hashed":
        return KeptText(None, None, *hashes)
    return KeptText(texts.prompt, texts.response, *hashes)
