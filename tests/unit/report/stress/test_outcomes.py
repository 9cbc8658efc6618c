from dataclasses import replace

import pytest

from demur.report.stress import StressView
from demur.report.stress._outcomes import OUTCOMES, draw_outcomes, shares_of


@pytest.fixture(autouse=True)
def _look(styled_look):
    pass


@pytest.fixture
def curves(view):
    return {name: {curve.cell: curve for curve in view.curves(name)} for name, *_ in OUTCOMES}


def test_shares_of_every_step_sum_to_one(curves):
    for cell in curves["rrr_hard"]:
        for shares in shares_of(curves, cell).values():
            assert sum(shares.values()) == pytest.approx(1)


def test_rates_of_judged_responses_make_room_for_the_unscored(curves):
    cell = next(cell for cell in curves["complied"] if cell.attack == "lora")
    rate = curves["complied"][cell].points[-1].estimate.value
    assert list(shares_of(curves, cell).values())[-1]["complied"] == pytest.approx(0.98 * rate)


def test_a_step_that_lacks_an_outcome_is_left_out(curves):
    assert shares_of({**curves, "complied": {}}, next(iter(curves["rrr_hard"]))) == {}


def test_bars_fill_the_panel(view):
    drawing = draw_outcomes(view)
    axis = drawing.figure.axes[0]
    tops = [patch.get_y() + patch.get_height() for patch in axis.patches]
    assert max(tops) == pytest.approx(1)
    assert len(axis.patches) == 9 * len(OUTCOMES)


def test_base_and_hardened_have_a_panel_each(view):
    titles = [axis.get_title(loc="left") for axis in draw_outcomes(view).figure.axes if axis.get_visible()]
    assert titles[:2] == ["smol-135m · base · lora · compliance", "smol-135m · hardened · lora · compliance"]


def test_the_text_tells_the_end_of_each(view):
    assert "smol-135m lora base at step 128: refused outright 0.0" in draw_outcomes(view).alt


def test_without_steps_there_is_a_note(make_folder):
    drawing = draw_outcomes(StressView(make_folder(attacks=("direct",))))
    assert "has several steps" in drawing.caption


def test_rates_corrected_one_by_one_are_stacked_as_the_judge_gave_them(curves):
    cell = next(cell for cell in curves["complied"] if cell.attack == "lora")
    given = shares_of(curves, cell)
    curve = curves["complied"][cell]
    corrected = tuple(
        replace(one, estimate=replace(one.estimate, value=1.0), uncorrected=one.estimate.value)
        for one in curve.points
    )
    changed = curves | {"complied": {cell: replace(curve, points=corrected)}}
    assert shares_of(changed, cell) == given
