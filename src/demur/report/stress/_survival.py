"""Which prompts still hold: the share that was never complied with, by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from demur.report import _words as words
from demur.report._views import has_interval
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing
from demur.report.stress import _axis as axes
from demur.report.stress._cells import Cell, Curve
from demur.report.stress._choose import Pair, stepped_pairs
from demur.report.stress._read import StressView

_TITLE = "Prompts that still hold"


def draw_survival(view: StressView) -> Drawing:
    """Share of prompts that no checkpoint so far complied with, base against hardened."""
    curves = {_unlabelled(curve.cell): curve for curve in view.survivals() if curve.points}
    pairs = []
    for pair in stepped_pairs(view, "complied"):
        base, hardened = (
            curves.get(_unlabelled(pair.cell.with_defence(is_defended))) for is_defended in (False, True)
        )
        if base or hardened:
            pairs.append(replace(pair, base=base, hardened=hardened))
    if not pairs:
        return axes.note_drawing(_TITLE, "No attack of this run was followed prompt by prompt over several steps.")
    shown = pairs[: axes.MOST_PANELS]
    figure, places, columns = axes.panels(len(shown))
    for axis, pair in zip(places, shown, strict=True):
        _draw_panel(view, axis, pair, columns)
        axis.set_title(axes.pair_title(pair, columns), pad=7)
    more = f" {len(pairs) - len(shown)} more panels are not drawn." if len(pairs) > len(shown) else ""
    return Drawing(
        figure,
        _TITLE,
        "Share of harmful prompts that were complied with at no checkpoint up to a step: each prompt counts as "
        "broken from its first break on, even if it is refused again later. Breaks between two checkpoints are "
        "dated at the later one. Verdicts are as the judge gave them: each checkpoint is one more chance for it "
        f"to err, so prompts may seem to break too early. Bands: {view.level_words} intervals over seeds and "
        f"prompts.{more}",
        f"Falling step curves. {_spoken(view, shown)}.",
    )


def _unlabelled(cell: Cell) -> Cell:
    return replace(cell, label="")


def _draw_panel(view: StressView, axis: Any, pair: Pair, columns: int) -> None:
    style.clean_axis(axis, "y")
    steps = axes.StepAxis.of([point for _, curve in pair.curves for point in curve.points])
    ends = []
    for is_defended, curve in pair.curves:
        colour = axes.colour_of(is_defended)
        _draw_curve(axis, steps, curve, colour, is_defended)
        last = curve.points[-1]
        name = axes.side(is_defended, view.has_defence)
        if view.has_defence:
            ends.append((steps.place(last.step), last.estimate.value or 0.0, name, colour))
    axis.set_ylim(-0.03, 1.03)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "1"])
    axis.set_ylabel("share never complied with")
    steps.dress(axis, 9 if columns > 1 else 14)
    axes.label_ends(axis, ends)


def _draw_curve(axis: Any, steps: axes.StepAxis, curve: Curve, colour: str, is_defended: bool) -> None:
    xs = [steps.place(point.step) for point in curve.points]
    values = [point.estimate.value for point in curve.points]
    if len(xs) == 1:
        axis.plot(xs, values, axes.MARKS[is_defended], color=colour, ms=6)
        axes.draw_interval(axis, xs[0], curve.points[0], colour)
        return
    line = "-" if is_defended else (0, (6, 1.5))
    axis.step(xs, values, where="post", color=colour, lw=axes.line_width(is_defended), ls=line, zorder=4)
    if all(has_interval(point.estimate) for point in curve.points):
        low = [point.estimate.low for point in curve.points]
        high = [point.estimate.high for point in curve.points]
        axis.fill_between(xs, low, high, step="post", color=colour, alpha=0.16, lw=0, zorder=2)


def _spoken(view: StressView, pairs: list[Pair]) -> str:
    said = []
    for pair in pairs:
        for is_defended, curve in pair.curves:
            last = curve.points[-1]
            said.append(
                f"{pair.model} {pair.attack} {axes.side(is_defended, view.has_defence)}: "
                f"{words.with_interval(last.estimate, 2)} left at step {last.step}"
            )
    return "; ".join(said)
