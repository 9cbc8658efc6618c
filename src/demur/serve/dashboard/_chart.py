"""Charts as paths of SVG in a box of one unit a step and 100 high; the page stretches them to its width.

A chart says in one sentence what it shows, has a table with the same figures, and names every step for the mouse.
Colours are classes of the style sheet, so that each theme has its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Values = Sequence[float | None]
HEIGHT = 100.0
_GAP = 0.12
"""Share of a step that is left free between two bars."""


@dataclass(frozen=True)
class Series:
    """One row of values in a chart."""

    name: str
    style: str
    """Class of the style sheet: ``s1`` to ``s8``, ``bad``."""
    values: Values
    shown: Sequence[str]
    """The same as the table writes them."""
    path: str = ""


@dataclass(frozen=True)
class Chart:
    """What a template draws."""

    title: str
    kind: str
    """``bars``, ``stack`` or ``lines``."""
    summary: str
    """What there is to see, in a sentence."""
    series: Sequence[Series]
    marks: Sequence[str]
    """What each step is called."""
    top: str
    middle: str
    """Words at the upper end of the axis and in its middle; its lower end is 0."""
    ticks: Sequence[str]
    """Words below, evenly from the first step to the last."""
    note: str = ""

    @property
    def width(self) -> int:
        """Steps."""
        return len(self.marks)

    @property
    def hints(self) -> list[str]:
        """What the mouse is told over each step."""
        return [
            f"{mark}: " + ", ".join(f"{one.name} {one.shown[place]}" for one in self.series)
            for place, mark in enumerate(self.marks)
        ]


def nice_top(values: Values, least: float = 1.0) -> float:
    """A round number that no value is above."""
    most = max([one for one in values if one is not None and math.isfinite(one)], default=0.0)
    most = max(most, least)
    scale = 10.0 ** math.floor(math.log10(most))
    return next(step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * scale >= most * (1 - 1e-9))


def bar_path(values: Values, top: float, floor: Values | None = None) -> str:
    """Bars from the floor (0 if there is none) up by their values."""
    parts = []
    for place, value in enumerate(values):
        if not value:
            continue
        low = (floor[place] or 0.0) if floor is not None else 0.0
        height = min(HEIGHT, value / top * HEIGHT)
        upper = max(0.0, HEIGHT - low / top * HEIGHT - height)
        parts.append(f"M{place + _GAP / 2:.2f} {upper:.2f}h{1 - _GAP:.2f}v{height:.2f}h{_GAP - 1:.2f}z")
    return "".join(parts)


def line_path(values: Values, top: float) -> str:
    """A line through the middles of steps, broken where there is no value; a lone value is a dash."""
    parts: list[str] = []
    is_drawing = False
    for place, value in enumerate(values):
        if value is None:
            is_drawing = False
            continue
        height = HEIGHT - min(HEIGHT, value / top * HEIGHT)
        is_last = place + 1 == len(values) or values[place + 1] is None
        if is_drawing:
            parts.append(f"L{place + 0.5:.1f} {height:.2f}")
        elif is_last:
            parts.append(f"M{place + 0.1:.1f} {height:.2f}h0.8")
        else:
            parts.append(f"M{place + 0.5:.1f} {height:.2f}")
        is_drawing = True
    return "".join(parts)


def stack_paths(rows: Sequence[Values], top: float) -> list[str]:
    """Paths of bars that stand on each other."""
    floor = [0.0] * (len(rows[0]) if rows else 0)
    paths = []
    for values in rows:
        paths.append(bar_path(values, top, floor))
        floor = [low + (value or 0.0) for low, value in zip(floor, values, strict=True)]
    return paths


def tick_marks(marks: Sequence[str], count: int = 5) -> list[str]:
    """So many of the marks, evenly from the first to the last."""
    last = len(marks) - 1
    return [marks[round(place * last / (count - 1))] for place in range(count)]


@dataclass(frozen=True)
class Interval:
    """An interval about a difference, in a box from -1 to 1 with 0 in the middle."""

    low: float
    high: float
    estimate: float | None
    reach: float
    """What the ends of the box stand for."""

    def place(self, value: float) -> str:
        """Where a value lies, from 0 to 100."""
        return f"{50 + 50 * max(-1.0, min(1.0, value / self.reach)):.2f}"

    @property
    def start(self) -> str:
        """Where it begins."""
        return self.place(self.low)

    @property
    def width(self) -> str:
        """How wide it is; never nothing."""
        return f"{max(0.6, float(self.place(self.high)) - float(self.place(self.low))):.2f}"

    @property
    def middle(self) -> str:
        """Where the estimate is."""
        return self.place(self.estimate or 0.0)


def make_interval(low: float, high: float, estimate: float | None) -> Interval:
    """An interval in a box that holds it."""
    return Interval(low, high, estimate, nice_top([abs(low), abs(high)], least=1e-3))
