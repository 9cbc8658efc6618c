import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.serve.batching import Job, QueueClosedError, QueueFullError, WorkQueue


def make_job(lengths, told=None, seconds=60.0):
    rows = [f"row {number}" for number in range(len(lengths))]
    return Job(rows, lengths, time.monotonic() + seconds, (told if told is not None else []).append)


def rows_of(batch):
    return [ticket.job.rows[ticket.place] for ticket in batch]


# Jobs


def test_a_job_is_told_once_when_its_last_row_is_settled():
    told = []
    job = make_job([1, 1, 1], told)
    job.settle([2], ["c"])
    assert told == []
    job.settle([0, 1], ["a", "b"])
    assert told == [job]
    assert job.answers == ["a", "b", "c"]
    assert job.error is None


def test_a_failed_job_is_told_once_and_stays_failed():
    told = []
    job = make_job([1, 1], told)
    job.fail(ValueError("first"))
    job.fail(ValueError("second"))
    job.settle([0, 1], ["a", "b"])
    assert told == [job]
    assert str(job.error) == "first"


def test_nobody_is_told_of_a_cancelled_job():
    told = []
    job = make_job([1], told)
    job.cancel()
    job.settle([0], ["a"])
    job.fail(ValueError("late"))
    assert told == []
    assert job.is_over


def test_a_job_settled_from_many_threads_is_told_once():
    told = []
    job = make_job([1] * 200, told)
    threads = [
        threading.Thread(target=lambda first=first: [job.settle([at], [at]) for at in range(first, first + 50)])
        for first in range(0, 200, 50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [job]
    assert job.answers == list(range(200))


# Batches


def test_one_thread_takes_all_that_waits_up_to_the_limit():
    queue = WorkQueue(max_rows=3, max_queue=10)
    queue.put(make_job([5, 5]))
    queue.put(make_job([5, 5, 5]))
    assert [len(queue.take()), len(queue.take())] == [3, 2]


def test_a_thread_leaves_the_others_their_share():
    queue = WorkQueue(max_rows=32, max_queue=100, threads=2)
    queue.put(make_job([5] * 16))
    assert [len(queue.take()) for _ in range(4)] == [8, 4, 2, 1]


def test_a_batch_holds_rows_of_like_length_and_the_oldest():
    queue = WorkQueue(max_rows=3, max_queue=10)
    queue.put(make_job([100, 9, 110, 5, 105, 7]))
    assert rows_of(queue.take()) == ["row 0", "row 2", "row 4"]
    assert rows_of(queue.take()) == ["row 1", "row 3", "row 5"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 7), st.integers(1, 4))
def test_every_row_is_given_out_once_and_the_oldest_always_in_the_next_batch(lengths, max_rows, threads):
    queue = WorkQueue(max_rows, 100, threads=threads)
    queue.put(make_job(lengths))
    waiting, seen = list(range(len(lengths))), []
    while waiting:
        batch = [ticket.place for ticket in queue.take()]
        assert 1 <= len(batch) <= max_rows
        assert waiting[0] in batch
        waiting = [place for place in waiting if place not in batch]
        seen += batch
    assert sorted(seen) == list(range(len(lengths)))


def test_a_batch_waits_for_more_rows_only_so_long():
    queue = WorkQueue(max_rows=4, max_queue=10, max_wait_s=0.2)
    queue.put(make_job([1]))
    started = time.monotonic()
    assert len(queue.take()) == 1
    assert 0.15 < time.monotonic() - started < 5


def test_a_full_batch_does_not_wait():
    queue = WorkQueue(max_rows=2, max_queue=10, max_wait_s=60)
    queue.put(make_job([1, 1]))
    started = time.monotonic()
    assert len(queue.take()) == 2
    assert time.monotonic() - started < 5


def test_a_waiting_thread_is_woken_by_the_rows_that_fill_its_batch():
    queue = WorkQueue(max_rows=2, max_queue=10, max_wait_s=60)
    found = []
    thread = threading.Thread(target=lambda: found.append(queue.take()))
    thread.start()
    queue.put(make_job([1]))
    queue.put(make_job([1]))
    thread.join(timeout=10)
    assert len(found[0]) == 2


# Bounds


def test_a_job_that_does_not_fit_is_refused_whole():
    queue = WorkQueue(max_rows=2, max_queue=3)
    queue.put(make_job([1, 1]))
    with pytest.raises(QueueFullError, match="2 rows wait already; try again in 1 s") as caught:
        queue.put(make_job([1, 1]))
    assert caught.value.retry_after_s == 1
    assert len(queue) == 2


def test_the_advice_to_come_back_grows_with_the_time_that_rows_take():
    queue = WorkQueue(max_rows=2, max_queue=2)
    queue.put(make_job([1, 1]))
    queue.note_rate(rows=2, seconds=10)
    with pytest.raises(QueueFullError, match="try again in 10 s"):
        queue.put(make_job([1]))


def test_cancelled_rows_make_room():
    queue = WorkQueue(max_rows=2, max_queue=2)
    gone = make_job([1, 1])
    queue.put(gone)
    gone.cancel()
    queue.put(make_job([1]))
    assert len(queue) == 1


def test_rows_that_nobody_waits_for_are_passed_over():
    told = []
    queue = WorkQueue(max_rows=1, max_queue=10)
    late, cancelled, wanted = make_job([1, 1], told, seconds=-1), make_job([1]), make_job([1])
    for job in (late, cancelled, wanted):
        queue.put(job)
    cancelled.cancel()
    assert queue.take()[0].job is wanted
    assert told == [late]
    assert isinstance(late.error, TimeoutError)


def test_a_closed_queue_gives_out_what_waits_and_takes_no_more():
    queue = WorkQueue(max_rows=1, max_queue=10)
    queue.put(make_job([1]))
    queue.close()
    assert len(queue.take()) == 1
    assert queue.take() == []
    with pytest.raises(QueueClosedError, match="give the rows to its successor"):
        queue.put(make_job([1]))
