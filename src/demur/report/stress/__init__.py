"""What a reader sees of ``demur stress``: pictures from the CSV files, and one page."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.report.stress._draw import draw_stress_figures as draw_stress_figures
    from demur.report.stress._html import write_stress_report as write_stress_report
    from demur.report.stress._read import StressView as StressView

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "StressView": "_read",
        "draw_stress_figures": "_draw",
        "write_stress_report": "_html",
    },
)
