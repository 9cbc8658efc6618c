import subprocess
import sys

import pytest

import demur.report

PUBLIC = [
    "Picture",
    "RESULT_COLUMNS",
    "RunView",
    "TIMING_COLUMNS",
    "draw_figures",
    "page_environment",
    "print_comparison",
    "print_league",
    "write_report",
    "write_results_csv",
]


def test_the_public_surface_is_this_list():
    assert demur.report.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves_and_is_described(name):
    found = getattr(demur.report, name)
    assert isinstance(found, tuple) or found.__doc__


def test_nothing_heavy_is_imported_with_the_package():
    code = (
        "import sys, demur.report, demur.report.figures\n"
        "print([name for name in ('matplotlib', 'jinja2', 'polars', 'numpy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_and_writing_tables_needs_no_plotting():
    code = (
        "import sys\nfrom demur.report import RunView, draw_figures, print_league, write_report\n"
        "print([name for name in ('matplotlib', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_report_of_a_real_experiment_holds_what_the_experiment_found(tiny, tmp_path, monkeypatch):
    from demur.experiment import run_experiment
    from demur.report.figures import _draw

    kinds = tuple(kind for kind in _draw.KINDS if kind.name in ("model_comparison", "feature_importance"))
    monkeypatch.setattr("demur.report.figures._draw.KINDS", kinds)
    result = run_experiment(tiny(report=True), out=tmp_path / "run")
    view = demur.report.RunView(result.folder)
    assert [model.name for model in view.tasks[0].usable] == ["rules", "tfidf_logreg"]
    assert view.tasks[0].winner.name == result.winners["refusal"]
    assert len(view.predictions("refusal", "rules", "test")) == view.tasks[0].splits["test"]["n"]
    assert view.problems == []
    assert view.cleaning
    assert sorted(path.name for path in (result.folder / "images").glob("*.png")) == [
        "refusal_feature_importance.png",
        "refusal_model_comparison.png",
    ]
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "League: test split" in page
    assert "starter corpus" in page
    assert page.count("data:image/png;base64,") == 2
