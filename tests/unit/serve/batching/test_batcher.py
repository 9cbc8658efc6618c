import threading
import time

import pytest

from demur.serve.batching import Batcher, BatchingConfig, Job, QueueClosedError, QueueFullError

SECONDS = 20


class Call:
    """A job whose end can be waited for."""

    def __init__(self, rows, seconds=60.0):
        self.ended = threading.Event()
        lengths = [len(str(row)) for row in rows]
        self.job = Job(rows, lengths, time.monotonic() + seconds, lambda job: self.ended.set())

    def answers(self):
        assert self.ended.wait(SECONDS)
        assert self.job.error is None, self.job.error
        return self.job.answers


class Gate:
    """A judge that doubles its rows, and waits before that until it is opened."""

    def __init__(self):
        self.opened, self.entered, self.batches = threading.Event(), threading.Event(), []

    def __call__(self, rows):
        self.batches.append(list(rows))
        self.entered.set()
        assert self.opened.wait(SECONDS)
        return [2 * row for row in rows]


@pytest.fixture
def make():
    made = []

    def start(judge, **settings):
        threads = settings.pop("threads", 1)
        observe = settings.pop("observe", None)
        made.append(Batcher(judge, BatchingConfig(**settings), threads, observe=observe))
        return made[-1]

    yield start
    for batcher in made:
        assert batcher.close(SECONDS)


def test_rows_come_back_in_their_order(make):
    batcher = make(lambda rows: [2 * row for row in rows])
    call = Call([3, 1, 2])
    batcher.submit(call.job)
    assert call.answers() == [6, 2, 4]


def test_a_job_without_rows_ends_at_once(make):
    call = Call([])
    make(lambda rows: rows).submit(call.job)
    assert call.answers() == []


def test_what_came_while_the_model_was_busy_is_judged_together(make):
    gate = Gate()
    batcher = make(gate)
    calls = [Call([number]) for number in range(4)]
    batcher.submit(calls[0].job)
    assert gate.entered.wait(SECONDS)
    for call in calls[1:]:
        batcher.submit(call.job)
    gate.opened.set()
    assert [call.answers() for call in calls] == [[0], [2], [4], [6]]
    assert gate.batches == [[0], [1, 2, 3]]


def test_threads_judge_at_the_same_time(make):
    together = threading.Barrier(2, timeout=SECONDS)

    def judge(rows):
        together.wait()
        return rows

    batcher = make(judge, threads=2)
    calls = [Call([1]), Call([2])]
    for call in calls:
        batcher.submit(call.job)
    assert [call.answers() for call in calls] == [[1], [2]]


def test_a_bad_row_spoils_no_other_request(make):
    gate = Gate()

    def judge(rows):
        gate(rows)
        if 13 in rows:
            raise ValueError("thirteen")
        return rows

    batcher = make(judge)
    first, good, bad, other = (Call([number]) for number in (1, 2, 13, 3))
    batcher.submit(first.job)
    assert gate.entered.wait(SECONDS)
    for call in (good, bad, other):
        batcher.submit(call.job)
    gate.opened.set()
    assert [call.answers() for call in (first, good, other)] == [[1], [2], [3]]
    assert bad.ended.wait(SECONDS)
    assert str(bad.job.error) == "thirteen"


def test_a_model_that_answers_too_few_rows_fails_the_job(make):
    call = Call([1, 2])
    make(lambda rows: rows[:1]).submit(call.job)
    assert call.ended.wait(SECONDS)
    assert "1 answers to 2 rows" in str(call.job.error)


def test_full_is_said_at_once(make):
    gate = Gate()
    batcher = make(gate, max_queue=2)
    busy, waiting = Call([1]), Call([2, 3])
    batcher.submit(busy.job)
    assert gate.entered.wait(SECONDS)
    batcher.submit(waiting.job)
    assert batcher.waiting == 2
    with pytest.raises(QueueFullError, match="2 rows wait already"):
        batcher.submit(Call([4]).job)
    gate.opened.set()
    assert waiting.answers() == [4, 6]


def test_a_cancelled_job_is_not_judged(make):
    gate = Gate()
    batcher = make(gate)
    busy, gone, wanted = Call([1]), Call([2]), Call([3])
    batcher.submit(busy.job)
    assert gate.entered.wait(SECONDS)
    batcher.submit(gone.job)
    batcher.submit(wanted.job)
    gone.job.cancel()
    gate.opened.set()
    assert wanted.answers() == [6]
    assert gate.batches == [[1], [3]]


def test_closing_finishes_what_waits_and_refuses_more(make):
    gate = Gate()
    batcher = make(gate)
    calls = [Call([1]), Call([2])]
    for call in calls:
        batcher.submit(call.job)
    assert not batcher.close(timeout_s=0.01)
    gate.opened.set()
    assert batcher.close(SECONDS)
    assert [call.answers() for call in calls] == [[2], [4]]
    with pytest.raises(QueueClosedError, match="replaced"):
        batcher.submit(Call([3]).job)


def test_every_batch_is_observed(make):
    seen = []
    batcher = make(lambda rows: rows, observe=seen.append)
    call = Call([1, 2, 3])
    batcher.submit(call.job)
    call.answers()
    batcher.close(SECONDS)
    assert [stats.rows for stats in seen] == [3]
    assert 0 <= seen[0].seconds < SECONDS
    assert 0 <= seen[0].waited_s < SECONDS
