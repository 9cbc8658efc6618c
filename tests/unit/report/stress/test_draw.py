import shutil

import pytest
from PIL import Image

from demur.errors import RunError
from demur.report.stress import draw_stress_figures
from demur.report.stress._draw import KINDS

NAMES = {"RRR_compare", "CE_compare", "RD_compare", "attacks", "outcome_shares", "survival"} | {
    *("scaling_flops", "scaling_size")
}


@pytest.fixture(scope="module")
def drawn(stress_folder):
    return draw_stress_figures(stress_folder)


def test_every_picture_lies_in_the_folder_of_figures(drawn, stress_folder):
    assert {picture.name for picture in drawn} == NAMES == set(KINDS)
    for picture in drawn:
        assert picture.path == stress_folder / "results/figures" / f"{picture.name}.png"


def test_every_picture_says_what_it_shows(drawn):
    for picture in drawn:
        assert picture.title
        assert picture.caption.endswith(".")
        assert picture.alt.endswith(".")
        assert "nan" not in picture.alt + picture.caption
        assert "None" not in picture.alt + picture.caption


def test_pictures_are_as_wide_as_a_page(drawn):
    for picture in drawn:
        with Image.open(picture.path) as image:
            assert 1200 < image.width < 1400
            assert set(image.info) <= {"dpi"}


def test_drawing_again_from_the_csv_files_alone_gives_the_same_bytes(drawn, stress_folder, tmp_path):
    (tmp_path / "results").mkdir()
    shutil.copytree(stress_folder / "results/metrics", tmp_path / "results/metrics")
    (tmp_path / "results/metrics/summary.json").unlink()
    again = draw_stress_figures(tmp_path)
    assert [one.path.read_bytes() for one in again] == [one.path.read_bytes() for one in drawn]
    assert [(one.caption, one.alt) for one in again] == [(one.caption, one.alt) for one in drawn]


def test_one_point_of_one_model_draws_every_picture(make_folder):
    folder = make_folder(models=(("m", 1e8),), seeds=(0,), defended=(False,), attacks=("direct",), is_told=False)
    assert {picture.name for picture in draw_stress_figures(folder)} == NAMES


def test_a_grid_without_rows_draws_every_picture_as_a_note(make_folder):
    folder = make_folder(attacks=("direct",))
    for path in (folder / "results/metrics").glob("*.csv"):
        path.write_text(path.read_text().splitlines()[0] + "\n")
    for picture in draw_stress_figures(folder):
        assert picture.alt.startswith("No picture: ")


def test_a_folder_without_a_grid_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no results/metrics/results_grid.csv"):
        draw_stress_figures(tmp_path)
