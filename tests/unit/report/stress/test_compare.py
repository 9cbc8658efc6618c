import pytest

from demur.report.stress import StressView
from demur.report.stress._compare import draw_compare

ONE = {"models": (("smol-135m", 1.35e8),)}


@pytest.fixture(autouse=True)
def _look(styled_look):
    pass


def shown(drawing):
    return [axis for axis in drawing.figure.axes if axis.get_visible()]


def curves_of(axis):
    return [line for line in axis.lines if line.get_marker() in ("o", "s") and len(line.get_xdata()) > 1]


def test_base_and_hardened_stand_in_one_panel_with_bands_and_names(view):
    axis = shown(draw_compare(view, "RRR"))[0]
    assert [len(line.get_xdata()) for line in curves_of(axis)] == [9, 9]
    assert len(axis.collections) == 2
    assert [text.get_text() for text in axis.texts] == ["base", "hardened"]


def test_each_of_few_seeds_is_a_row_of_points(view):
    axis = shown(draw_compare(view, "RRR"))[0]
    assert sum(line.get_marker() == "." for line in axis.lines) == 6


def test_five_seeds_are_not_drawn_apart(make_folder):
    view = StressView(make_folder(**ONE, seeds=(0, 1, 2, 3, 4), attacks=("lora",)))
    axis = shown(draw_compare(view, "RRR"))[0]
    assert not any(line.get_marker() == "." for line in axis.lines)


def test_the_values_drawn_are_those_of_the_csv(view):
    line = curves_of(shown(draw_compare(view, "CE"))[0])[0]
    curve = next(one for one in view.curves("ce") if one.cell.attack == "lora")
    assert list(line.get_ydata()) == [point.estimate.value for point in curve.points]


def test_compliance_error_is_never_shown_without_true_compliance(view):
    drawing = draw_compare(view, "CE")
    dashed = [line for line in shown(drawing)[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 2
    assert "dashed line shows the share that truly complied" in drawing.caption


def test_a_model_without_defence_has_one_curve_and_no_names(make_folder):
    drawing = draw_compare(StressView(make_folder(**ONE, defended=(False,), attacks=("lora",))), "RRR")
    axis = shown(drawing)[0]
    assert len(curves_of(axis)) == 1
    assert [text.get_text() for text in axis.texts] == []


def test_words_name_rows_seeds_and_intervals(view):
    drawing = draw_compare(view, "RRR")
    assert "95 % intervals over seeds and prompts. n = 180 responses a point." in drawing.caption
    assert "smol-135m lora base from" in drawing.alt


def test_what_does_not_fit_is_counted(make_folder, monkeypatch):
    monkeypatch.setattr("demur.report.stress._axis.MOST_PANELS", 1)
    drawing = draw_compare(StressView(make_folder(**ONE, attacks=("lora",))), "RRR")
    assert len(shown(drawing)) == 1
    assert "1 more panels are not drawn." in drawing.caption


def test_a_single_step_is_a_note_not_a_crash(make_folder):
    drawing = draw_compare(StressView(make_folder(**ONE, attacks=("direct", "prefill"))), "RRR")
    assert "No attack of this run has several steps" in drawing.caption


def test_a_figure_nobody_measured_is_a_note(make_folder):
    folder = make_folder(**ONE, attacks=("lora",))
    path = folder / "results/metrics/results_grid.csv"
    path.write_text(path.read_text().replace("rd_all_median", "other"))
    assert "was not measured" in draw_compare(StressView(folder), "RD").caption


def test_a_figure_without_value_is_a_note_with_the_reason(make_folder):
    folder = make_folder(**ONE, attacks=("lora",))
    path = folder / "results/metrics/results_grid.csv"
    lines = path.read_text().splitlines()
    kept = [lines[0]]
    for line in lines[1:]:
        parts = line.split(",")
        if "rd_all_median" in parts:
            parts[-5:] = ["", "", "", "0", "no null was drawn"]
        kept.append(",".join(parts))
    path.write_text("\n".join(kept))
    assert "no null was drawn" in draw_compare(StressView(folder), "RD").caption


def test_names_of_lines_do_not_cover_each_other(view, overlaps):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_compare(view, "RRR").figure
    FigureCanvasAgg(figure).draw()
    assert overlaps(figure) == []


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ((0,), "95 % intervals over prompts."),
        ((0, 1), "none over fewer than three seeds."),
        ((0, 1, 2), "Student's 95 % intervals over 3 seeds, which do not hold the choice of prompts."),
    ],
)
def test_bands_of_distances_are_said_to_be_what_they_are(make_folder, seeds, words):
    drawing = draw_compare(StressView(make_folder(**ONE, seeds=seeds, attacks=("lora",))), "RD")
    assert f"Bands: {words}" in drawing.caption
