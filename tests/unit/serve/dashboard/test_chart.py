import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.serve.dashboard._chart import (
    Chart,
    Series,
    bar_path,
    line_path,
    make_interval,
    nice_top,
    stack_paths,
    tick_marks,
)

VALUES = st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=40)


@given(VALUES)
def test_no_value_is_above_the_top_and_it_is_not_far_off(values):
    top = nice_top(values)
    most = max([one for one in values if one is not None], default=0)
    assert most <= top * (1 + 1e-9)
    assert top <= max(1.0, most) * 2


@given(VALUES)
def test_paths_stay_in_their_box(values):
    top = nice_top(values)
    for path in (bar_path(values, top), line_path(values, top)):
        for _, y in re.findall(r"[ML](\S+) ([\d.-]+)", path):
            assert 0 <= float(y) <= 100


def test_bars_stand_on_each_other():
    lower, upper = stack_paths([[0.25, None, 0], [0.75, 1, 0]], 1.0)
    assert lower == "M0.06 75.00h0.88v25.00h-0.88z"
    assert upper.startswith("M0.06 0.00h0.88v75.00")
    assert upper.count("M") == 2


def test_a_line_is_broken_where_there_is_no_value():
    path = line_path([1, 2, None, 4, None, 4, 0], 4)
    assert path == "M0.5 75.00L1.5 50.00M3.1 0.00h0.8M5.5 0.00L6.5 100.00"
    assert line_path([None, None], 1) == ""


def test_ticks_are_the_first_the_last_and_those_between():
    assert tick_marks([str(one) for one in range(9)]) == ["0", "2", "4", "6", "8"]


def test_the_mouse_is_told_every_series_of_a_step():
    series = [Series("good", "s1", [1, 2], ["1", "2"]), Series("bad", "bad", [0, 0], ["0", "0"])]
    chart = Chart("Title", "bars", "Words.", series, ["12:00", "12:01"], "2", "1", [])
    assert chart.width == 2
    assert chart.hints == ["12:00: good 1, bad 0", "12:01: good 2, bad 0"]


@pytest.mark.parametrize("low", [-3.0, -0.2, 0.0, 0.01])
@pytest.mark.parametrize("width", [0.0, 0.05, 4.0])
def test_an_interval_lies_in_its_box(low, width):
    box = make_interval(low, low + width, low + width / 2)
    assert box.reach * (1 + 1e-9) >= max(abs(low), abs(low + width))
    assert 0 <= float(box.start) <= float(box.middle) <= 100
    assert float(box.width) >= 0.6
    assert (float(box.start) > 50) is (low / box.reach > 1e-4)


def test_an_interval_without_estimate_has_its_mark_at_nothing():
    assert make_interval(-1, 1, None).middle == "50.00"
