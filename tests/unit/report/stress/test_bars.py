import pytest

from demur.report.stress import StressView
from demur.report.stress._bars import draw_attacks


@pytest.fixture(autouse=True)
def _look(styled_look):
    pass


def names(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def test_the_most_dangerous_attack_stands_first(view):
    axis = draw_attacks(view).figure.axes[0]
    assert names(axis)[0] == "lora"
    assert axis.yaxis_inverted()


def test_controls_are_called_so(view):
    found = names(draw_attacks(view).figure.axes[0])
    assert {"direct (no attack)", "random_lora (control)", "revert (defence off)"} < set(found)


def test_base_and_hardened_have_a_bar_each_with_its_interval(view):
    axis = draw_attacks(view).figure.axes[0]
    assert len(axis.patches) == 2 * len(names(axis))
    assert len([line for line in axis.lines if len(line.get_xdata()) == 2]) == 2 * len(names(axis))


def test_a_model_without_defence_has_one_bar_an_attack(make_folder):
    view = StressView(make_folder(models=(("m", 1e8),), defended=(False,), attacks=("direct", "prefill")))
    drawing = draw_attacks(view)
    assert [len(axis.patches) for axis in drawing.figure.axes] == [2]
    assert "m prefill: model 0.5" in drawing.alt


def test_more_models_than_fit_are_counted(make_folder):
    models = tuple((f"m{number}", 1e8) for number in range(6))
    drawing = draw_attacks(StressView(make_folder(models=models, attacks=("direct",))))
    assert len(drawing.figure.axes) == 4
    assert "2 more models are not drawn." in drawing.caption


def test_a_grid_without_compliance_is_a_note(make_folder):
    folder = make_folder(attacks=("direct",))
    for name in ("results_grid", "results_curves"):
        path = folder / f"results/metrics/{name}.csv"
        path.write_text(path.read_text().replace(",complied,", ",other,"))
    assert "No attack of this run has a judged response." in draw_attacks(StressView(folder)).caption
