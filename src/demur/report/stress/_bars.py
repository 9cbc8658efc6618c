"""What each attack reached at its worst, the most dangerous first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from demur.report import _words as words
from demur.report._views import has_interval
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing, tick_name
from demur.report.stress import _axis as axes
from demur.report.stress._choose import Reached, Standing, control_words, standings
from demur.report.stress._read import StressView

_TITLE = "What each attack reached"
_ROW = 0.42
_MOST_MODELS = 4


def draw_attacks(view: StressView) -> Drawing:
    """Compliance under every attack at its worst setting and step, base and hardened, worst case first."""
    found = standings(view)
    if not any(one.worst.is_measured for one in found):
        return axes.note_drawing(_TITLE, "No attack of this run has a judged response.")
    models = list(dict.fromkeys(one.model for one in found))[:_MOST_MODELS]
    rows = {model: [one for one in found if one.model == model] for model in models}
    heights = [0.55 + _ROW * len(rows[model]) for model in models]
    figure = style.new_figure(0.55 + sum(heights) + 0.2 * len(models))
    places = figure.subplots(len(models), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, model in zip(places, models, strict=True):
        _draw_panel(axis, rows[model], view.has_defence)
        axis.set_title(tick_name(model, 80), pad=6)
    places[-1].set_xlabel("share of harmful prompts complied with, at the worst setting and step")
    if view.has_defence:
        _legend(figure)
    more = len({one.model for one in found}) - len(models)
    return Drawing(
        figure,
        _TITLE,
        "Share of harmful prompts complied with under each attack at its worst setting and step, worst case "
        f"first; dark lines are {view.level_words} intervals. An attacker may try every setting and keep the best "
        "one, so the highest of all is shown; being the highest of several, it leans to the attacker's side."
        f"{f' {more} more models are not drawn.' if more > 0 else ''}",
        f"Bars of compliance by attack. {_spoken(found, view.has_defence)}.",
    )


def _draw_panel(axis: Any, rows: Sequence[Standing], has_defence: bool) -> None:
    style.clean_axis(axis, "x")
    axis.spines["left"].set_visible(False)
    both = has_defence and any(one.hardened for one in rows)
    height = 0.36 if both else 0.6
    for place, row in enumerate(rows):
        sides = [(False, row.base), (True, row.hardened)] if both else [(False, row.base or row.hardened)]
        for number, (is_defended, one) in enumerate(sides):
            if one is None:
                continue
            at = place + (number - 0.5) * 0.4 if both else place
            estimate = one.estimate
            if estimate.value is None:
                axis.text(0.01, at, "not measured", va="center", size=7.5, color=style.MUTED)
                continue
            axis.barh(at, estimate.value, height=height, color=axes.colour_of(is_defended), alpha=0.85, zorder=2)
            if has_interval(estimate):
                axis.plot([estimate.low, estimate.high], [at, at], color=style.INK, lw=1.4, zorder=3)
            axis.text(
                1.02,
                at,
                f"{estimate.value:.2f}",
                transform=axis.get_yaxis_transform(),
                va="center",
                size=7.5,
                color=axes.colour_of(is_defended) if both else style.MUTED,
            )
    axis.set_yticks(range(len(rows)), [f"{tick_name(row.attack, 24)}{control_words(row.attack)}" for row in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "1"])


def _legend(figure: Any) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=axes.colour_of(is_defended), alpha=0.85) for is_defended in (False, True)]
    figure.legend(handles, ["base", "hardened"], loc="outside upper left", ncols=2, handlelength=1.3)


def _spoken(found: Sequence[Standing], has_defence: bool) -> str:
    said = []
    for one in found[:10]:
        parts = [
            f"{axes.side(is_defended, has_defence)} {_reached_words(reached)}"
            for is_defended, reached in ((False, one.base), (True, one.hardened))
            if reached
        ]
        said.append(f"{one.model} {one.attack}: {', '.join(parts)}")
    return "; ".join(said)


def _reached_words(reached: Reached) -> str:
    return words.with_interval(reached.estimate, 2) if reached.is_measured else "not measured"
