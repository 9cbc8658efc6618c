from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.metrics import Estimate
from demur.report.stress._axis import (
    StepAxis,
    colour_of,
    draw_interval,
    few_words,
    label_ends,
    line_width,
    note_drawing,
    pair_title,
    panels,
    side,
    spread_labels,
)
from demur.report.stress._cells import Cell, Curve, Point
from demur.report.stress._choose import Pair

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 512, 1000, 2000)


def test_zero_stands_before_the_first_step_and_steps_are_logarithmic():
    axis = StepAxis((0, 1, 2, 4))
    assert axis.place(0) < axis.place(1)
    assert axis.place(4) - axis.place(2) == pytest.approx(axis.place(2) - axis.place(1))


def test_zero_stands_before_a_first_step_that_is_not_one():
    assert StepAxis((0, 50, 100)).place(0) < StepAxis((0, 50, 100)).place(50)


@given(st.sets(st.integers(0, 5000), min_size=1, max_size=20), st.integers(1, 14))
def test_ticks_are_steps_with_the_first_and_the_last_and_never_crowded(steps, most):
    axis = StepAxis(tuple(sorted(steps)))
    ticks = axis.ticks(most)
    assert ticks[0] == min(steps)
    assert ticks[-1] == max(steps)
    assert set(ticks) <= steps
    assert len(ticks) <= most + 1


def test_an_axis_without_steps_has_no_ticks():
    assert StepAxis(()).ticks(5) == []


def test_the_break_is_drawn_only_where_there_is_a_zero(styled_look):
    for steps, marks in ((STEPS, 2), (STEPS[1:], 0), ((0,), 0)):
        _, (axis,), _ = panels(1)
        StepAxis(steps).dress(axis, 7)
        assert len(axis.lines) == marks


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_labels_stay_inside_and_apart(values):
    places = spread_labels(values, 0.09, 0.0, 1.0)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    ordered = sorted(places)
    assert all(b - a >= 0.09 - 1e-9 for a, b in pairwise(ordered))


def test_labels_of_equal_ends_stand_about_them():
    assert sum(spread_labels([0.5, 0.5], 0.1, 0, 1)) == pytest.approx(1.0)


def test_names_stand_beside_the_ends(styled_look):
    _, (axis,), _ = panels(1)
    label_ends(axis, [(1.0, 0.2, "base", "red"), (1.0, 0.9, "hardened", "blue")])
    assert [text.get_text() for text in axis.texts] == ["base", "hardened"]


def test_a_note_stands_in_place_of_a_picture(styled_look):
    drawing = note_drawing("Title", "There is nothing to draw here. " * 6)
    assert drawing.title == "Title"
    assert "nothing to draw" in drawing.figure.axes[0].texts[0].get_text()
    assert drawing.alt.startswith("No picture: ")


def test_two_panels_share_a_row_and_a_third_leaves_no_empty_frame(styled_look):
    figure, axes, columns = panels(3)
    assert (len(axes), columns) == (3, 2)
    assert [axis.get_visible() for axis in figure.axes] == [True, True, True, False]


def test_a_lone_point_has_its_interval(styled_look):
    _, (axis,), _ = panels(1)
    draw_interval(axis, 0.0, Point(0, Estimate(0.5, 0.4, 0.6, 9)), "red")
    draw_interval(axis, 0.0, Point(0, Estimate(0.5, None, None, 9)), "red")
    assert [list(line.get_ydata()) for line in axis.lines] == [[0.4, 0.6]]


@pytest.mark.parametrize(
    ("seeds", "words"), [(0, "not told apart"), (1, "One seed"), (3, "each one is drawn"), (5, "5 seeds.")]
)
def test_few_seeds_are_said_to_be_few(view, seeds, words):
    assert words in few_words(view, seeds)


def test_sides_differ_in_name_and_colour():
    assert (side(True), side(False), side(False, has_defence=False)) == ("hardened", "base", "model")
    assert colour_of(True) != colour_of(False)


def test_a_panel_is_named_by_model_attack_and_data():
    pair = Pair("m", "lora", Curve(Cell("m", False, "lora", data="benign"), (), {}), None)
    assert pair_title(pair, 2) == "m · lora · benign"
    assert pair_title(pair, 1, model=False) == "lora · benign"


def test_the_base_can_be_seen_below_a_hardened_model_of_equal_figures():
    assert line_width(False) > line_width(True)
