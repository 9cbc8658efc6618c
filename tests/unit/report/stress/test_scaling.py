import pytest

from demur.metrics import Estimate
from demur.report.stress import StressView
from demur.report.stress._cells import Cell, HalfPoint
from demur.report.stress._scaling import draw_cost, draw_sizes, fit_sizes, fit_words, half_words, power, size_words


@pytest.fixture(autouse=True)
def _look(styled_look):
    pass


def half(value=None, size=1e8, low=None, high=None, bound="", bound_at=None, rank="16", reason=None):
    return HalfPoint(
        Cell("m", False, "lora", rank=rank), size, Estimate(value, low, high, 9, reason), bound, bound_at
    )


@pytest.mark.parametrize(("value", "words"), [(3.2e12, "3.2e12"), (1e9, "1.0e9"), (None, "…"), (0, "…")])
def test_large_numbers_are_short(value, words):
    assert power(value) == words


def test_a_budget_of_half_reads_as_number_bound_or_reason():
    assert half_words(half(2e12, low=1e12, high=None)) == "C50 2.0e12 FLOPs [1.0e12, …]"
    assert half_words(half(2e12)) == "C50 2.0e12 FLOPs"
    assert half_words(half(bound="above", bound_at=1e14)) == "C50 above 1.0e14 FLOPs"
    assert half_words(half(bound="below", bound_at=1e10)) == "C50 below 1.0e10 FLOPs"
    assert half_words(half(reason="nothing broke")) == "no C50 (nothing broke)"


def test_the_exponent_of_the_size_is_found():
    halves = [half(size**1.5, size) for size in (1e8, 1e9, 1e10)]
    assert fit_sizes(halves).size.value == pytest.approx(1.5)
    assert "+1.50" in fit_words(fit_sizes(halves))


def test_one_number_gives_no_line():
    assert fit_sizes([half(1e12), half(bound="above", bound_at=1e13, size=1e9)]) is None


def test_c50_is_a_diamond_on_the_line_of_one_half(view):
    axis = draw_cost(view).figure.axes[0]
    diamonds = [line for line in axis.lines if line.get_marker() == "D"]
    known = [one.estimate.value for one in view.c50s() if one.cell.model == "smol-135m" and one.estimate.value]
    assert [line.get_xdata()[0] for line in diamonds] == known
    assert [line.get_ydata()[0] for line in diamonds] == pytest.approx([0.5, 0.5], abs=0.03)


def test_a_bound_is_a_triangle_that_points_to_where_it_lies(view):
    axis = draw_cost(view).figure.axes[1]
    assert [line.get_marker() for line in axis.lines].count(">") == 2


def test_the_text_tells_every_c50(view):
    assert "smol-135m lora base: C50 " in draw_cost(view).alt


def test_without_costs_there_is_a_note(make_folder):
    assert "cost in operations" in draw_cost(StressView(make_folder(attacks=("direct",)))).caption


def test_two_sizes_are_a_trend_only(view):
    drawing = draw_sizes(view)
    assert "2 sizes: a trend only, not a law." in drawing.caption
    axis = drawing.figure.axes[0]
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in axis.get_xticklabels()] == ["135 M", "360 M"]


def test_each_attack_and_data_have_a_panel_of_their_own(view):
    titles = [axis.get_title(loc="left") for axis in draw_sizes(view).figure.axes if axis.get_visible()]
    assert titles == ["lora · compliance", "lora · benign", "random_lora"]


def test_one_size_is_a_note(make_folder):
    folder = make_folder(models=(("m", 1e8),), attacks=("lora",))
    assert "One size of model was stressed" in draw_sizes(StressView(folder)).caption


def test_no_budget_is_a_note(make_folder):
    assert "No cell has a C50" in draw_sizes(StressView(make_folder(attacks=("direct",)))).caption


def test_an_open_end_of_c50_runs_dotted_to_the_edge(make_folder):
    folder = make_folder(models=(("m", 1e8),), defended=(False,), attacks=("lora",))
    path = folder / "results/metrics/results_c50.csv"
    header, *rows = path.read_text().splitlines()
    place = header.split(",").index("high")
    cells = rows[0].split(",")
    cells[place] = ""
    path.write_text("\n".join([header, ",".join(cells), *rows[1:]]))
    lines = [line for line in draw_cost(StressView(folder)).figure.axes[0].lines if line.get_lw() == 2.4]
    assert [line.get_linestyle() == "-" for line in lines] == [True, False]


def test_a_narrow_range_of_budgets_is_named_at_its_ends(make_folder):
    folder = make_folder(models=(("m", 1e8),), defended=(False,), attacks=("lora",))
    for name in ("results_grid", "results_curves"):
        path = folder / f"results/metrics/{name}.csv"
        lines = path.read_text().splitlines()
        steps = lines[0].split(",").index("step")
        path.write_text("\n".join([lines[0], *(one for one in lines[1:] if one.split(",")[steps] in "124")]))
    labels = [label.get_text() for label in draw_cost(StressView(folder)).figure.axes[0].get_xticklabels()]
    assert labels == ["6.4e11", "2.6e12"]


@pytest.mark.parametrize(
    ("value", "words"), [(1.1e9, "1.1 B"), (1.35e8, "135 M"), (12_288, "12.3 k"), (None, "0")]
)
def test_sizes_are_short(value, words):
    assert size_words(value) == words


def test_rates_are_not_pooled_into_one_line(make_folder):
    folder = make_folder(models=(("a", 1e8), ("b", 1e9)), defended=(False,), attacks=("lora",))
    path = folder / "results/metrics/results_c50.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *(line.replace("0.0002", "0.001") for line in lines[1:])]))
    titles = [
        axis.get_title(loc="left") for axis in draw_sizes(StressView(folder)).figure.axes if axis.get_visible()
    ]
    assert set(titles) == {
        f"lora · {data} · rate {rate}" for data in ("compliance", "benign") for rate in ("0.0002", "0.001")
    }


def test_a_c50_that_is_missing_is_told_with_its_reason(make_folder):
    folder = make_folder(models=(("m", 1e8),), defended=(False,), attacks=("lora",))
    path = folder / "results/metrics/results_c50.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert "Not marked: m lora model: no C50 (it is not in the CSV)" in draw_cost(StressView(folder)).caption
