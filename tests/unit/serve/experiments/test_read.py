from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from demur.serve.experiments._read import Cursor, Pages, read_failures, read_labelled, read_predictions
from demur.store import ExperimentEvent, FeedbackRow

from .conftest import START

times = st.lists(st.integers(0, 12), max_size=40)


def pages_of(rows, cursor, page_rows, until=99):
    """A stream of ``(minute, id)``, ordered as a database does that sorts ids its own way."""
    ordered = sorted(rows, key=lambda row: (row[0], row[1][::-1]))

    def read(since, limit):
        return [row for row in ordered if since <= START + timedelta(minutes=row[0]) and row[0] < until][:limit]

    return Pages(read, lambda row: (START + timedelta(minutes=row[0]), row[1]), cursor, page_rows)


@given(times, st.integers(1, 7), st.integers(0, 14))
def test_each_row_is_read_once_wherever_pages_and_steps_end(minutes, page_rows, until):
    rows = [(minute, f"id{number * 7919 % 101}-{number}") for number, minute in enumerate(minutes)]
    cursor = Cursor(START)
    first = list(pages_of(rows, cursor, page_rows, until))
    cursor = Cursor.from_json(cursor.to_json())
    second = list(pages_of(rows, cursor, page_rows))
    assert sorted(first + second) == sorted(rows)
    assert [row[0] for row in first + second] == sorted(minutes)


@given(times, st.integers(1, 5), st.integers(1, 10))
def test_a_reader_that_stops_in_the_middle_goes_on_there(minutes, page_rows, most):
    rows, cursor, found = [(minute, f"id{number}") for number, minute in enumerate(minutes)], Cursor(START), []
    while True:
        taken = 0
        for row in pages_of(rows, cursor, page_rows):
            found.append(row)
            taken += 1
            if taken == most:
                break
        if taken < most:
            break
    assert sorted(found) == sorted(rows)


def test_a_row_that_comes_late_but_at_the_very_moment_of_the_cursor_is_read():
    cursor = Cursor(START)
    assert list(pages_of([(3, "a")], cursor, 5)) == [(3, "a")]
    assert list(pages_of([(3, "a"), (3, "b"), (2, "c")], cursor, 5)) == [(3, "b")]


def test_answers_and_labels_of_the_experiment_alone_are_read(any_store, begin, traffic):
    row = begin(any_store)
    source = traffic(any_store)
    end = source.send(30, START, 60)
    any_store.add_feedback([FeedbackRow(request_id="0-0", task="refusal", label="x", at=end)])
    late = end + timedelta(seconds=1)
    found = list(read_predictions(any_store, row.id, Cursor(START), late, 7))
    assert len(found) == 30
    assert {one.experiment for one in found} == {row.id}
    assert len(list(read_labelled(any_store, row.id, Cursor(START), late, 7))) == 31
    assert len(list(read_labelled(any_store, row.id, Cursor(START), end, 7))) == 29
    assert list(read_predictions(any_store, "another", Cursor(START), late, 7)) == []


def test_failures_are_read_from_the_cursor_on(store, begin):
    row = begin(store)
    for number in range(4):
        at = START + timedelta(seconds=number)
        store.add_event(ExperimentEvent(id=f"e{number}", experiment=row.id, kind="failures", at=at))
    cursor = Cursor(START + timedelta(seconds=1), ["e1"])
    assert [one.id for one in read_failures(store, row.id, cursor, START + timedelta(seconds=3))] == ["e2"]
