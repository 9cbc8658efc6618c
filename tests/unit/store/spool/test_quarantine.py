"""Tests of the quarantine: a row is set aside once, with its reason, and shown without its texts."""

from datetime import UTC, datetime, timedelta

import pytest

from demur.store.spool._codec import Entry
from demur.store.spool._file import Waiting
from demur.store.spool._quarantine import Refused, SetAside


@pytest.fixture
def aside(tmp_path):
    return SetAside(tmp_path)


def entry(number):
    return Entry("feedback", f"r{number}", f"body {number}")


def refused(seq, number):
    return Refused(Waiting(seq, entry(number)), "why")


def test_nothing_set_aside_makes_no_file(aside):
    assert aside.rows() == aside.entries() == []
    assert aside.count() == aside.purge(datetime.now(UTC)) == 0
    assert not aside.path.exists()


def test_a_row_is_kept_with_its_reason_and_shown_without_its_body(aside):
    aside.add("a.spool", [refused(3, 1)])
    (row,) = aside.rows()
    assert (row.kind, row.request_id, row.reason) == ("feedback", "r1", "why")
    assert datetime.now(UTC) - row.at < timedelta(minutes=5)
    assert "body" not in repr(row)
    assert aside.entries() == [(row.seq, entry(1))]


def test_the_same_row_is_set_aside_once(aside):
    for _ in range(2):
        aside.add("a.spool", [refused(3, 1)])
    aside.add("b.spool", [refused(3, 2)])
    assert aside.count() == 2


def test_rows_leave_by_number_and_by_age(aside):
    for number in range(3):
        aside.add("a.spool", [refused(number, number)])
    aside.remove([aside.rows()[0].seq])
    assert [row.request_id for row in aside.rows()] == ["r1", "r2"]
    assert aside.purge(datetime.now(UTC) - timedelta(days=1)) == 0
    assert aside.purge(datetime.now(UTC) + timedelta(days=1)) == 2
