import re

import numpy as np
import pytest
from PIL import Image

from demur.errors import MissingDependencyError, RunError
from demur.report import RunView, draw_figures
from demur.report.figures._draw import KINDS
from demur.report.figures._style import styled


@pytest.fixture
def few(monkeypatch):
    """Two quick kinds of pictures in place of all."""
    names = ("model_comparison", "feature_importance")
    kinds = tuple(kind for kind in KINDS if kind.name in names)
    monkeypatch.setattr("demur.report.figures._draw.KINDS", kinds)
    return kinds


def named(pictures, task):
    return [picture.kind for picture in pictures if picture.task == task]


def test_every_kind_is_drawn_for_a_task_that_has_it_all(drawn):
    assert named(drawn, "refusal") == [kind.name for kind in KINDS]


def test_a_picture_without_figures_is_left_out(drawn):
    missing = {kind.name for kind in KINDS} - set(named(drawn, "prompt_risk"))
    assert missing == {"slices_by_answerer"}


def test_pictures_are_named_after_task_and_kind(drawn, run_folder):
    for picture in drawn:
        assert picture.name == f"{picture.task}_{picture.kind}"
        assert picture.path == run_folder / "images" / f"{picture.name}.png"


def test_no_picture_is_blank(drawn):
    for picture in drawn:
        with Image.open(picture.path) as image:
            pixels = np.asarray(image.convert("L"))
        assert (pixels < 200).mean() > 0.002, picture.name
        assert (pixels == 255).mean() > 0.2, picture.name


def test_pictures_are_fit_for_a_page(drawn):
    for picture in drawn:
        with Image.open(picture.path) as image:
            assert image.info["dpi"] == pytest.approx((150, 150), abs=1)
            assert 500 < image.width < 1400
            assert 250 < image.height < 2200
        assert picture.path.stat().st_size < 150_000


def test_pictures_hold_no_date_and_no_software(drawn):
    for picture in drawn:
        with Image.open(picture.path) as image:
            assert set(image.info) <= {"dpi"}, picture.name


def test_every_picture_says_what_it_shows(drawn):
    for picture in drawn:
        assert picture.title
        assert picture.caption.endswith(".")
        assert picture.alt.endswith(".")
        assert not re.search(r"\bnan\b|None", picture.alt + picture.caption), picture.name


def test_captions_name_the_rows_and_the_interval(drawn):
    for picture in drawn:
        if picture.kind in ("model_comparison", "confusion_matrices", "calibration", "roc_curves", "per_class_f1"):
            assert "Test split, n = 150 rows in" in picture.caption


def test_failed_models_are_named_in_the_comparison(drawn):
    assert "Failed and not drawn: broken_model." in drawn[0].caption


def test_progress_is_told_of_every_picture(small_run, few):
    told = []
    draw_figures(small_run, progress=told.append)
    assert told == [f"jailbreak_{kind.name}" for kind in few]


def test_equal_runs_give_equal_bytes(small_run, few):
    first = {picture.name: picture.path.read_bytes() for picture in draw_figures(small_run)}
    second = {picture.name: picture.path.read_bytes() for picture in draw_figures(small_run)}
    assert first == second


def test_pictures_of_earlier_results_are_removed(small_run, edit, few):
    before = draw_figures(small_run)

    def forget(results):
        for model in results["tasks"]["jailbreak"]["models"]:
            model["features"] = None

    edit(small_run, forget)
    after = draw_figures(small_run)
    assert {picture.kind for picture in before} - {picture.kind for picture in after} == {"feature_importance"}
    assert sorted(path.name for path in (small_run / "images").glob("*.png")) == sorted(
        picture.path.name for picture in after
    )


def test_files_of_others_in_the_folder_stay(small_run, few):
    (small_run / "images").mkdir()
    (small_run / "images/mine.png").write_bytes(b"mine")
    draw_figures(small_run)
    assert (small_run / "images/mine.png").read_bytes() == b"mine"


def test_without_predictions_only_pictures_of_results_are_drawn(small_run):
    import shutil

    shutil.rmtree(small_run / "predictions")
    kinds = {picture.kind for picture in draw_figures(small_run)}
    assert kinds == {
        "alpha_trajectory",
        "critical_difference",
        "learning_curves",
        "model_comparison",
        "pairs",
        "generalisation",
        "per_class_f1",
        "feature_importance",
        "latency_vs_score",
    }


def test_settings_of_the_caller_are_left_alone(small_run, edit):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_figures(edit(small_run, lambda results: results.update(tasks={})))
    assert dict(matplotlib.rcParams) == before


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no experiment_results.json"):
        draw_figures(tmp_path)


def test_without_matplotlib_the_extra_is_named(small_run, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'demur\[report\]'"):
        draw_figures(small_run)


@pytest.fixture(scope="module")
def crowded(many_folder):
    """Kind to figure, drawn, for twelve models with long names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    view = RunView(many_folder)
    with styled():
        figures = {kind.name: kind.draw(view, view.tasks[0]).figure for kind in KINDS}
        for figure in figures.values():
            FigureCanvasAgg(figure).draw()
    return figures


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_twelve_models_with_long_names_cover_no_label(crowded, kind, overlaps):
    assert overlaps(crowded[kind]) == []


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_no_label_runs_out_of_the_picture(crowded, kind):
    figure = crowded[kind]
    drawn = figure.get_tightbbox(figure.canvas.get_renderer())  # inches
    width, height = figure.get_size_inches()
    assert drawn.x0 > -0.02
    assert drawn.y0 > -0.02
    assert drawn.x1 < width + 0.02
    assert drawn.y1 < height + 0.02
