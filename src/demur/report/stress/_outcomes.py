"""What responses are, step by step: refused, complied with, incoherent, unscored, as stacked shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demur.report import _words as words
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing, tick_name
from demur.report.stress import _axis as axes
from demur.report.stress._cells import Cell, Curve
from demur.report.stress._choose import stepped_pairs
from demur.report.stress._read import StressView

OUTCOMES = (
    ("rrr_hard", "refused outright", style.BLUE, ""),
    ("rrr_soft", "refused softly", style.SKY, ""),
    ("incoherent", "incoherent", style.FAINT, "...."),
    ("complied", "complied", style.RED, ""),
    ("unscored", "no judge could say", "#ffffff", "////"),
)
"""Figure, what people call it, colour, hatching; in the order they are stacked."""
_TITLE = "What responses are"


def draw_outcomes(view: StressView) -> Drawing:
    """Shares of the outcomes at every step, one panel for the base and one for the hardened model."""
    curves = {name: {curve.cell: curve for curve in view.curves(name)} for name, *_ in OUTCOMES}
    cells = [
        curve.cell
        for pair in stepped_pairs(view, "complied")
        for _, curve in pair.curves
        if shares_of(curves, curve.cell)
    ]
    if not cells:
        return axes.note_drawing(
            _TITLE, "No attack of this run has several steps; the bars show what each attack reached."
        )
    shown = cells[: axes.MOST_PANELS]
    figure, places, columns = axes.panels(len(shown), 2.35)
    for axis, cell in zip(places, shown, strict=True):
        _draw_panel(axis, shares_of(curves, cell), columns)
        name = axes.side(cell.is_defended, view.has_defence)
        parts = [cell.model, name if view.has_defence else "", cell.attack, cell.data]
        title = " · ".join(part for part in parts if part)
        axis.set_title(tick_name(title, 44 if columns > 1 else 90), pad=6)
    _legend(figure)
    more = f" {len(cells) - len(shown)} more panels are not drawn." if len(cells) > len(shown) else ""
    return Drawing(
        figure,
        _TITLE,
        "Shares of all responses to harmful prompts at each step, over all seeds, as the judge gave them; they "
        "sum to 1. Incoherent text "
        "is neither a refusal nor compliance: a tripped defence often ends there. Intervals stand in the tables."
        f"{more}",
        _alt(view, curves, shown),
    )


def shares_of(curves: Mapping[str, Mapping[Cell, Curve]], cell: Cell) -> dict[int, dict[str, float]]:
    """Step to the share of each outcome among all responses; steps where one is missing are left out.

    Parameters
    ----------
    curves
        Figure to the curves of all cells: rates of judged responses, and the unscored share of all.
    cell
        Which one.
    """
    found: dict[int, dict[str, float]] = {}
    for name in curves:
        curve = curves[name].get(cell)
        for point in curve.points if curve else ():
            # Rates corrected one by one for a judge's errors no longer sum to 1.
            value = point.estimate.value if point.uncorrected is None else point.uncorrected
            found.setdefault(point.step, {})[name] = value or 0.0
    judged = [name for name, *_ in OUTCOMES if name != "unscored"]
    shares = {}
    for step in sorted(found):
        if all(name in found[step] for name in judged):
            unscored = found[step].get("unscored", 0.0)
            shares[step] = {name: found[step][name] * (1 - unscored) for name in judged} | {"unscored": unscored}
    return shares


def _draw_panel(axis: Any, shares: Mapping[int, Mapping[str, float]], columns: int) -> None:
    style.clean_axis(axis, "none")
    steps = list(shares)
    below = [0.0] * len(steps)
    for name, _, colour, hatch in OUTCOMES:
        heights = [shares[step][name] for step in steps]
        axis.bar(
            range(len(steps)),
            heights,
            bottom=below,
            width=0.86,
            color=colour,
            hatch=hatch,
            edgecolor=style.MUTED if hatch else "white",
            lw=0.4,
        )
        below = [low + height for low, height in zip(below, heights, strict=True)]
    every = 2 if len(steps) > (9 if columns > 1 else 16) else 1
    named = [place for place in range(len(steps)) if place % every == 0 or place == len(steps) - 1]
    if len(named) > 1 and named[-1] - named[-2] < every:
        del named[-2]
    axis.set_xticks(named, [words.count(steps[place]) for place in named])
    axis.set_yticks([0, 0.5, 1.0], ["0", "0.5", "1"])
    axis.set_ylim(0, 1)
    axis.set_xlabel("steps of the attack")


def _legend(figure: Any) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=style.MUTED if hatch else "white", lw=0.4)
        for _, _, colour, hatch in OUTCOMES
    ]
    figure.legend(handles, [name for _, name, *_ in OUTCOMES], loc="outside upper left", ncols=5, handlelength=1.3)


def _alt(view: StressView, curves: Mapping[str, Mapping[Cell, Curve]], cells: Sequence[Cell]) -> str:
    said = []
    for cell in cells:
        shares = shares_of(curves, cell)
        last = list(shares)[-1]
        parts = ", ".join(f"{name} {words.number(shares[last][key], 2)}" for key, name, *_ in OUTCOMES)
        name = axes.side(cell.is_defended, view.has_defence)
        said.append(f"{cell.model} {cell.attack} {name} at step {last}: {parts}")
    return f"Stacked bars of outcomes by step. {'; '.join(said)}."
