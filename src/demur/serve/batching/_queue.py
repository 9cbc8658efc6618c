"""A bounded queue of rows: threads take batches of similar length, the oldest row always among them.

Who calls a model with a batch, and how many threads do, is left to ``_batcher``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from demur.errors import DemurError


class QueueFullError(DemurError):
    """As many rows wait as may; ``retry_after_s`` is about when there is room again."""

    def __init__(self, waiting: int, retry_after_s: float) -> None:
        super().__init__(f"{waiting} rows wait already; try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class QueueClosedError(DemurError):
    """The queue takes no more rows: its model has been replaced."""


class Job:
    """Rows of one request for one model, and what became of them.

    Parameters
    ----------
    rows
        What the model is given.
    lengths
        The size of each row, such as its characters: rows of like size are judged together.
    deadline
        When, by ``time.monotonic``, nobody waits for the answer any more.
    tell
        Called once, in the thread that did the last row, when the job has ended well or badly.

    Attributes
    ----------
    answers
        One a row, in order; complete when the job is told of without an error.
    error
        Why there are no answers.
    """

    __slots__ = ("_left", "_lock", "answers", "deadline", "error", "is_over", "lengths", "rows", "tell")

    def __init__(
        self, rows: Sequence[Any], lengths: Sequence[int], deadline: float, tell: Callable[[Job], None]
    ) -> None:
        self.rows, self.lengths, self.deadline, self.tell = rows, lengths, deadline, tell
        self.answers: list[Any] = [None] * len(rows)
        self.error: BaseException | None = None
        self.is_over = False
        self._left = len(rows)
        self._lock = threading.Lock()

    def settle(self, places: Sequence[int], answers: Sequence[Any]) -> None:
        """Take the answers to some rows; the last ones end the job."""
        with self._lock:
            for place, answer in zip(places, answers, strict=True):
                self.answers[place] = answer
            self._left -= len(places)
            is_done = self._left == 0 and not self.is_over
            self.is_over = self.is_over or is_done
        if is_done:
            self.tell(self)

    def fail(self, error: BaseException) -> None:
        """End badly, unless it has ended."""
        with self._lock:
            is_first, self.is_over = not self.is_over, True
            if is_first:
                self.error = error
        if is_first:
            self.tell(self)

    def cancel(self) -> None:
        """Nobody waits any more: rows that no thread has taken are left out, and nobody is told."""
        with self._lock:
            self.is_over = True


@dataclass(frozen=True, slots=True)
class Ticket:
    """One row that waits."""

    job: Job
    place: int
    """Of the row in its job."""
    length: int
    at: float
    """When it came, by ``time.monotonic``."""


class WorkQueue:
    """Rows that wait for a model, safe to share between threads.

    Parameters
    ----------
    max_rows
        Most rows of a batch.
    max_queue
        Most rows that wait.
    max_wait_s
        How long a thread waits for more rows when a batch is not full; 0: not at all.
    threads
        How many threads take from it: one takes its share of what waits and leaves the others theirs.
    """

    def __init__(self, max_rows: int, max_queue: int, max_wait_s: float = 0.0, threads: int = 1) -> None:
        self._max_rows, self._max_queue, self._max_wait_s = max_rows, max_queue, max_wait_s
        self._threads = threads
        self._waiting: list[Ticket] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._seconds_a_row = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, job: Job) -> None:
        """Let a job's rows wait, all or none.

        Raises
        ------
        QueueFullError
            There is no room for all of them; try again later.
        QueueClosedError
            It was closed.
        """
        now = time.monotonic()
        with self._changed:
            if self._is_closed:
                raise QueueClosedError("the model was replaced; give the rows to its successor")
            count = len(job.rows)
            if len(self._waiting) + count > self._max_queue:
                self._waiting = [one for one in self._waiting if not one.job.is_over]
            if len(self._waiting) + count > self._max_queue:
                raise QueueFullError(len(self._waiting), max(1.0, len(self._waiting) * self._seconds_a_row))
            self._waiting += [Ticket(job, place, length, now) for place, length in enumerate(job.lengths)]
            self._changed.notify(count)

    def take(self) -> list[Ticket]:
        """The next batch, waited for; empty when the queue is closed and nothing waits any more.

        Rows that nobody waits for are passed over; jobs whose time ran out end with ``TimeoutError``.
        """
        while True:
            with self._changed:
                if not self._wait_for_rows():
                    return []
                batch = [one for one in self._pick() if not one.job.is_over]
            now = time.monotonic()
            alive = [one for one in batch if one.job.deadline > now]
            for ticket in batch:
                if ticket.job.deadline <= now:
                    ticket.job.fail(TimeoutError("the deadline passed while the row waited"))
            if alive:
                return alive

    def note_rate(self, rows: int, seconds: float) -> None:
        """Remember how long a batch took, for the advice to those who find the queue full."""
        each = seconds / max(rows, 1)
        self._seconds_a_row += (each - self._seconds_a_row) * (0.1 if self._seconds_a_row else 1.0)

    def close(self) -> None:
        """Take no more; what waits is still given out."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _wait_for_rows(self) -> bool:
        """Wait until there is work, and for a fuller batch where that is wanted; False when closed and empty."""
        while True:
            while not self._waiting:
                if self._is_closed:
                    return False
                self._changed.wait()
            rest = self._waiting[0].at + self._max_wait_s - time.monotonic()
            if rest <= 0 or len(self._waiting) >= self._max_rows or self._is_closed:
                return True
            self._changed.wait(rest)

    def _pick(self) -> list[Ticket]:
        """Take a thread's share of what waits: the oldest row and those nearest to it in length."""
        waiting = self._waiting
        share = min(self._max_rows, -(-len(waiting) // self._threads))
        if share >= len(waiting):
            self._waiting = []
            return waiting
        oldest = waiting[0].length
        order = sorted(range(1, len(waiting)), key=lambda place: abs(waiting[place].length - oldest))
        chosen = {0, *order[: share - 1]}
        self._waiting = [one for place, one in enumerate(waiting) if place not in chosen]
        return [waiting[place] for place in sorted(chosen)]
