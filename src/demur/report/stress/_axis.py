"""What the pictures of a grid share: a broken axis of steps, colours, panels, a note in place of a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from demur.report import _words as words
from demur.report._views import has_interval
from demur.report.figures import _style as style
from demur.report.figures._comparison import spread
from demur.report.figures._drawing import Drawing, tick_name
from demur.report.stress._cells import Point
from demur.report.stress._choose import Pair
from demur.report.stress._read import StressView

BASE, HARDENED = style.RED, style.BLUE
MARKS = {False: "o", True: "s"}
MOST_PANELS = 8
FEW_SEEDS = 5
"""Below so many each seed is drawn as well."""
_GAP = 1.5
"""Doublings between 0 and the first step."""


@dataclass(frozen=True)
class StepAxis:
    """Steps on a logarithmic axis, with 0 before a break."""

    steps: tuple[int, ...]

    @classmethod
    def of(cls, points: Sequence[Point]) -> StepAxis:
        """The axis that holds these points."""
        return cls(tuple(sorted({point.step for point in points})))

    @property
    def first(self) -> int:
        """The first step above 0."""
        return next((step for step in self.steps if step > 0), 1)

    def place(self, step: int) -> float:
        """Where a step stands."""
        return math.log2(step) if step > 0 else math.log2(self.first) - _GAP

    def ticks(self, most: int) -> list[int]:
        """Steps to name, not closer than that many would stand; 0 and the last always."""
        if not self.steps:
            return []
        last, kept = self.steps[-1], [self.steps[0]]
        gap = (self.place(last) - self.place(kept[0])) / max(most, 1)
        for step in self.steps[1:-1]:
            if min(self.place(step) - self.place(kept[-1]), self.place(last) - self.place(step)) >= gap:
                kept.append(step)
        return kept + ([last] if last != kept[0] else [])

    def dress(self, axis: Any, most: int) -> None:
        """Ticks, limits and the mark of the break."""
        if not self.steps:
            return
        named = self.ticks(most)
        axis.set_xticks([self.place(step) for step in named], [words.count(step) for step in named])
        low, high = self.place(self.steps[0]), self.place(self.steps[-1])
        air = max(0.35, 0.04 * (high - low))
        axis.set_xlim(low - air, high + air)
        axis.set_xlabel("steps of the attack")
        if self.steps[0] == 0 and len(self.steps) > 1:
            middle = self.place(0) + _GAP / 2
            for shift in (-0.06, 0.06):
                axis.plot(
                    [middle + shift - 0.05, middle + shift + 0.05],
                    [-0.022, 0.022],
                    transform=axis.get_xaxis_transform(),
                    color=style.MUTED,
                    lw=1.1,
                    clip_on=False,
                )


def note_drawing(title: str, sentence: str) -> Drawing:
    """A small picture that says why there is nothing to draw."""
    figure = style.new_figure(1.1)
    axis = figure.subplots()
    axis.axis("off")
    shown = "\n".join(_lines(sentence, 100))
    axis.text(0.5, 0.5, shown, ha="center", va="center", color=style.MUTED, size=9.5, transform=axis.transAxes)
    return Drawing(figure, title, sentence, f"No picture: {sentence}")


def panels(count: int, height: float = 2.5) -> tuple[Any, list[Any], int]:
    """A figure with so many panels: the figure, its axes, and their columns."""
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    figure = style.new_figure(0.75 + (height + (0.7 if count == 1 else 0)) * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count], columns


def pair_title(pair: Pair, columns: int, model: bool = True) -> str:
    """What a panel is of."""
    parts = [pair.model if model else "", pair.attack, pair.cell.data]
    return tick_name(" · ".join(part for part in parts if part), 40 if columns > 1 else 86)


def colour_of(is_defended: bool) -> str:
    """Of the base, or of the hardened model."""
    return HARDENED if is_defended else BASE


def line_width(is_defended: bool) -> float:
    """The base is drawn wider, below: it can be seen where both are the same."""
    return 1.7 if is_defended else 3.0


def side(is_defended: bool, has_defence: bool = True) -> str:
    """What people call it."""
    return "hardened" if is_defended else "base" if has_defence else "model"


def draw_interval(axis: Any, place: float, point: Point, colour: str) -> None:
    """The interval of a lone point as a vertical line."""
    if has_interval(point.estimate):
        axis.plot([place, place], [point.estimate.low, point.estimate.high], color=colour, lw=1.4, alpha=0.7)


def label_ends(axis: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names to the right of the ends of lines: (x, y, name, colour), spread so that none covers another."""
    low, high = axis.get_ylim()
    if not ends:
        return
    gap = min(0.09 * (high - low), (high - low) / len(ends))
    places = spread_labels([y for _, y, _, _ in ends], gap, low, high)
    for (x, y, name, colour), place in zip(ends, places, strict=True):
        axis.annotate(
            name,
            xy=(x, y),
            xytext=(1.01, (place - low) / (high - low)),
            textcoords=("axes fraction", "axes fraction"),
            va="center",
            size=8.5,
            weight="bold",
            color=colour,
            annotation_clip=False,
        )
    axis.set_ylim(low, high)


def spread_labels(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places of labels no closer than ``gap``, about the middle of what they label."""
    inside = [min(max(value, low), high) for value in values]
    places = spread(inside, gap, low, high)
    shift = sum(place - value for place, value in zip(places, inside, strict=True)) / max(len(places), 1)
    return spread([min(max(place - shift, low), high) for place in places], gap, low, high)


def few_words(view: StressView, seeds: int) -> str:
    """How many seeds there are, and what that means for a reader."""
    if seeds == 0:
        return "Seeds are not told apart."
    if seeds == 1:
        return "One seed: the intervals do not hold the spread between trainings."
    drawn = "; with so few, each one is drawn as a small point" if seeds < FEW_SEEDS else ""
    return f"{seeds} seeds{drawn}."


def _lines(text: str, width: int) -> list[str]:
    found, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            found.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*found, line]
