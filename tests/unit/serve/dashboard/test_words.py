from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.serve.dashboard._words import ago, milliseconds, plain, share, shown, size, to_time, when


@given(st.text(st.characters(), max_size=50))
def test_nothing_stays_hidden_and_what_is_shown_can_be_sent(text):
    found = shown(text)
    assert len(found) == len(text)
    found.encode()
    assert not any(one in found for one in "\x00\x1b\x7f\u202e\u2066\u200b\ufeff")


def test_what_can_be_seen_is_left_as_it_is():
    text = "Grüße,\t你好 שלום 🙂\n<b>"
    assert shown(text) == text
    assert shown("a\u202eb\ud800") == "a\ufffdb\ufffd"
    assert (shown(None), shown(3)) == ("—", "3")


def test_times_are_written_in_utc():
    at = datetime(2031, 5, 4, 23, 30, tzinfo=UTC).astimezone(tz=None)
    assert when(at) == when(at.isoformat()) == "4 May 23:30"
    assert when(None) == when("no time") == "—"
    assert to_time("2031-05-04T01:00:00+02:00").hour == 23


@pytest.mark.parametrize(
    ("value", "words"), [(None, "—"), (0, "0.0 %"), (0.1234, "12.3 %"), (0.0001, "<0.1 %"), (1, "100.0 %")]
)
def test_shares(value, words):
    assert share(value) == words


def test_sizes_and_times():
    assert [milliseconds(one) for one in (None, 3.14, 1234)] == ["—", "3.1 ms", "1\u202f234 ms"]
    assert [size(one) for one in (0, 999, 1500, 2.5e6, 7e9)] == ["0 B", "999 B", "1.5 kB", "2.5 MB", "7.0 GB"]
    lengths = [timedelta(seconds=one) for one in (-1, 59, 600, 7200, 3 * 86_400)]
    assert [ago(one) for one in lengths] == ["0 s", "59 s", "10 min", "2 h", "3 days"]
    assert plain("rolled_back") == "rolled back"
