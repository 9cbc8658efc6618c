"""Micro-batches: rows of many requests judged together, off the event loop, in a bounded queue."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.batching._batcher import Batcher as Batcher
    from demur.serve.batching._batcher import BatchStats as BatchStats
    from demur.serve.batching._config import BatchingConfig as BatchingConfig
    from demur.serve.batching._queue import Job as Job
    from demur.serve.batching._queue import QueueClosedError as QueueClosedError
    from demur.serve.batching._queue import QueueFullError as QueueFullError
    from demur.serve.batching._queue import WorkQueue as WorkQueue

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BatchStats": "_batcher",
        "Batcher": "_batcher",
        "BatchingConfig": "_config",
        "Job": "_queue",
        "QueueClosedError": "_queue",
        "QueueFullError": "_queue",
        "WorkQueue": "_queue",
    },
)
