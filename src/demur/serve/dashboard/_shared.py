"""What was read of the store, for all viewers of a worker: read once at a time, and kept for a few seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demur.errors import DemurError

if TYPE_CHECKING:
    from demur.serve.dashboard._config import DashboardConfig
    from demur.serve.dashboard._gather import Snapshot
    from demur.serve.dashboard._span import SpanName

_LOG = logging.getLogger(__name__)
Read = Callable[["SpanName"], "Snapshot"]


@dataclass
class _Kept:
    """What is known of one span."""

    snapshot: Snapshot | None = None
    problem: str | None = None
    tried_at: float = float("-inf")
    reading: asyncio.Task[None] | None = None


class SharedSnapshots:
    """Snapshots by span.

    Parameters
    ----------
    read
        Reads one from the store; called in a thread.
    config
        How long one is kept, and how long a viewer waits for it.
    clock
        Seconds that only ever grow.
    """

    def __init__(self, read: Read, config: DashboardConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._config, self._clock = read, config, clock
        self._kept: dict[SpanName, _Kept] = {}

    async def get(self, span: SpanName) -> tuple[Snapshot | None, str | None]:
        """The snapshot of a span, an older one where the store does not answer, and why it is not a new one.

        A store that fails is left alone for as long as figures are kept.
        """
        kept = self._kept.setdefault(span, _Kept())
        if kept.reading is None and self._clock() - kept.tried_at > self._config.keep_s:
            kept.reading = asyncio.create_task(self._read_again(span, kept))
        if kept.reading is not None:
            await asyncio.wait({kept.reading}, timeout=self._config.wait_s)
        if kept.reading is not None:
            return kept.snapshot, (
                f"the database has not answered for {self._config.wait_s:g} s; figures come with a later load"
            )
        return kept.snapshot, kept.problem

    async def _read_again(self, span: SpanName, kept: _Kept) -> None:
        try:
            kept.snapshot, kept.problem = await asyncio.to_thread(self._read, span), None
        except DemurError as error:
            kept.problem = str(error)
        except Exception as error:  # the page is shown all the same, and the message may quote a row
            _LOG.error("the dashboard cannot read the store (%s)", type(error).__name__)
            kept.problem = f"the store cannot be read ({type(error).__name__}); the log tells more"
        finally:
            kept.tried_at, kept.reading = self._clock(), None
