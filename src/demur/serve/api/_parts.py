"""What a running application is made of; whoever answers a request finds everything here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from demur.serve.pool import ChampionRouter, Router, Texts

if TYPE_CHECKING:
    from demur.serve._config import ServeConfig
    from demur.serve._identity import Identity
    from demur.serve.api._keys import Gate
    from demur.serve.api._metrics import Metrics
    from demur.serve.api._rate import SharedBuckets
    from demur.serve.api._record import Recorder
    from demur.serve.pool import Pool
    from demur.store import PredictionRow, Store
    from demur.store.spool import Spool


def _do_nothing() -> None:
    pass


class Observer(Protocol):
    """Whoever wants to see what was answered, such as a monitor; texts are there whatever is logged of them."""

    def __call__(self, rows: Sequence[PredictionRow], texts: Sequence[Texts]) -> None:
        """Look at the answers to one request; on the event loop, so it must be quick, and keep no text for long.

        Parameters
        ----------
        rows
            One a task and item that was answered; the row's ``item`` is the place of its texts in ``texts``.
        """
        ...


@dataclass
class Parts:
    """The parts of one worker's application."""

    config: ServeConfig
    pool: Pool
    store: Store
    spool: Spool
    recorder: Recorder
    gate: Gate
    buckets: SharedBuckets
    identity: Identity
    metrics: Metrics
    router: Router = field(default_factory=ChampionRouter)
    observers: list[Observer] = field(default_factory=list)
    refresh: Callable[[], Any] = field(default_factory=lambda: _do_nothing)
    """Brings the models in line with the registry now; called in a thread."""
    warm: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when every model is loaded and warmed."""
    is_draining: bool = False
    """Whether the server is about to stop: it is not ready, and lets connections end."""
    readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "reader"))
    """Threads that read the database for a request: where it says nothing, no other work waits behind them."""
    background: set[asyncio.Task[Any]] = field(default_factory=set)
    """What goes on behind answers that were given, such as shadows."""

    def spawn(self, work: Any) -> None:
        """Let a coroutine go on behind the answer."""
        task = asyncio.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
