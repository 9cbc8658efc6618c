"""Draws every picture of a stress folder into ``results/figures/``, from its CSV files alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from demur.report.figures import Picture
from demur.report.figures._drawing import Drawing
from demur.report.figures._style import save_figure, styled
from demur.report.stress._bars import draw_attacks
from demur.report.stress._compare import draw_compare
from demur.report.stress._outcomes import draw_outcomes
from demur.report.stress._read import StressView
from demur.report.stress._scaling import draw_cost, draw_sizes
from demur.report.stress._survival import draw_survival

FIGURES_FOLDER = Path("results", "figures")
KINDS: dict[str, Callable[[StressView], Drawing]] = {
    "attacks": draw_attacks,
    "RRR_compare": partial(draw_compare, kind="RRR"),
    "CE_compare": partial(draw_compare, kind="CE"),
    "outcome_shares": draw_outcomes,
    "scaling_flops": draw_cost,
    "survival": draw_survival,
    "RD_compare": partial(draw_compare, kind="RD"),
    "scaling_size": draw_sizes,
}
"""File to what draws it, in the order of the page."""


def draw_stress_figures(folder: Path | str) -> list[Picture]:
    """Draw all pictures of a stress folder anew; what has nothing to show says so in its picture.

    Parameters
    ----------
    folder
        The run folder; only ``results/metrics/`` of it is read.

    Raises
    ------
    RunError
        The folder holds no readable grid.
    MissingDependencyError
        matplotlib is not installed; install ``demur[report]``.
    StorageError
        The disk is full or not writable.
    """
    view = StressView(folder)
    assert view.rows is not None  # read first, so that a folder without a grid is refused before anything is drawn
    pictures = []
    with styled():
        for name, draw in KINDS.items():
            drawing = draw(view)
            path = view.folder / FIGURES_FOLDER / f"{name}.png"
            save_figure(drawing.figure, path)
            pictures.append(Picture(name, path, drawing.title, drawing.caption, drawing.alt, "stress", name))
    return pictures
