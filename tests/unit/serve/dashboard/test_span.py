from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.serve.dashboard._span import SPANS


@pytest.mark.parametrize(("name", "hours"), [("hour", 1), ("day", 24), ("week", 168)])
def test_steps_fill_their_span(name, hours):
    span = SPANS[name]
    assert span.step * span.count == timedelta(hours=hours)


@given(st.sampled_from(sorted(SPANS)), st.floats(1e9, 4e9))
def test_steps_join_and_the_last_one_holds_now(name, seconds):
    span, now = SPANS[name], datetime.fromtimestamp(seconds, UTC)
    steps = span.steps(now)
    assert len(steps) == span.count
    assert all(end == start for (_, end), (start, _) in pairwise(steps))
    assert steps[-1][0] <= now < steps[-1][1]
    assert steps[0][0].timestamp() % span.step.total_seconds() == 0
