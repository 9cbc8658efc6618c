"""Threads that judge what waits in a queue: a free one takes what is there, off the event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from demur.serve.batching._config import BatchingConfig
from demur.serve.batching._queue import Job, Ticket, WorkQueue

Judge = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class BatchStats:
    """One call of a model."""

    rows: int
    seconds: float
    waited_s: float
    """How long its oldest row had waited."""


class Batcher:
    """Judges rows of many requests together, in threads of its own.

    Parameters
    ----------
    judge
        Takes rows, gives one answer a row; called from several threads at once where there are several.
    config
        Sizes of batches and of the queue.
    threads
        How many calls of ``judge`` may run at the same time.
    name
        Of the threads, for whoever looks at the process.
    observe
        Called after every batch, in its thread.
    """

    def __init__(
        self,
        judge: Judge,
        config: BatchingConfig | None = None,
        threads: int = 1,
        name: str = "model",
        observe: Callable[[BatchStats], None] | None = None,
    ) -> None:
        config = config or BatchingConfig()
        self._judge, self._observe = judge, observe
        self._queue = WorkQueue(config.max_rows, config.max_queue, config.max_wait_ms / 1000, threads)
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Rows that no thread has taken yet."""
        return len(self._queue)

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn; ``job.tell`` is called when it has ended.

        Raises
        ------
        QueueFullError
            As many rows wait as may; try again later.
        QueueClosedError
            The batcher is closed; give the job to the model that took its place.
        """
        if job.rows:
            self._queue.put(job)
        else:
            job.settle([], [])

    def close(self, timeout_s: float | None = None) -> bool:
        """Finish what waits, take no more, and end the threads; whether they ended within the time."""
        self._queue.close()
        until = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while batch := self._queue.take():
            started = time.monotonic()
            self._answer(batch)
            seconds = time.monotonic() - started
            self._queue.note_rate(len(batch), seconds)
            if self._observe is not None:
                self._observe(BatchStats(len(batch), seconds, started - batch[0].at))

    def _answer(self, batch: Sequence[Ticket]) -> None:
        """Judge a batch; where that fails, judge each job alone: a bad row spoils no other request."""
        jobs: dict[Job, list[int]] = {}
        for ticket in batch:
            jobs.setdefault(ticket.job, []).append(ticket.place)
        try:
            answers = iter(self._call([job.rows[place] for job, places in jobs.items() for place in places]))
        except Exception as error:  # whatever a model raises is one request's trouble, not the thread's
            if len(jobs) == 1:
                batch[0].job.fail(error)
                return
            for job in jobs:
                self._answer([ticket for ticket in batch if ticket.job is job])
            return
        for job, places in jobs.items():
            job.settle(places, [next(answers) for _ in places])

    def _call(self, rows: Sequence[Any]) -> Sequence[Any]:
        answers = self._judge(rows)
        if len(answers) != len(rows):
            raise RuntimeError(f"the model gave {len(answers)} answers to {len(rows)} rows")
        return answers
