"""Reports of a run: pictures, one self-contained page, the results table, and the league on the terminal."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.report._html import write_report as write_report
    from demur.report._page import page_environment as page_environment
    from demur.report._run import RunView as RunView
    from demur.report._table import RESULT_COLUMNS as RESULT_COLUMNS
    from demur.report._table import TIMING_COLUMNS as TIMING_COLUMNS
    from demur.report._table import write_results_csv as write_results_csv
    from demur.report._terminal import print_league as print_league
    from demur.report._terminal_pairs import print_comparison as print_comparison
    from demur.report.figures import Picture as Picture
    from demur.report.figures import draw_figures as draw_figures

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Picture": "figures",
        "RESULT_COLUMNS": "_table",
        "RunView": "_run",
        "TIMING_COLUMNS": "_table",
        "draw_figures": "figures",
        "page_environment": "_page",
        "print_comparison": "_terminal_pairs",
        "print_league": "_terminal",
        "write_report": "_html",
        "write_results_csv": "_table",
    },
)
