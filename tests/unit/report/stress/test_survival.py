import pytest

from demur.report.stress import StressView
from demur.report.stress._survival import draw_survival


@pytest.fixture(autouse=True)
def _look(styled_look):
    pass


def test_curves_only_ever_fall(view):
    axis = draw_survival(view).figure.axes[0]
    falls = [list(line.get_ydata()) for line in axis.lines if line.get_drawstyle() == "steps-post"]
    assert len(falls) == 2
    assert all(values == sorted(values, reverse=True) for values in falls)


def test_base_and_hardened_differ_by_more_than_colour(view):
    axis = draw_survival(view).figure.axes[0]
    steps = [line for line in axis.lines if line.get_drawstyle() == "steps-post"]
    assert steps[0].get_linestyle() != steps[1].get_linestyle()
    assert [text.get_text() for text in axis.texts] == ["base", "hardened"]


def test_the_text_tells_what_is_left(view):
    assert "smol-135m lora base: 0.0" in draw_survival(view).alt


def test_a_single_step_is_a_point(make_folder):
    folder = make_folder(models=(("m", 1e8),), defended=(False,), attacks=("lora",))
    path = folder / "results/metrics/results_survival.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2]))
    axis = draw_survival(StressView(folder)).figure.axes[0]
    assert axis.lines[0].get_marker() == "o"


def test_without_survival_there_is_a_note(make_folder):
    folder = make_folder(attacks=("lora",), models=(("m", 1e8),))
    (folder / "results/metrics/results_survival.csv").unlink()
    assert "followed prompt by prompt" in draw_survival(StressView(folder)).caption
