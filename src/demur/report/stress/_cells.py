"""What a stress folder holds, once read: cells, their figures along steps, and seeds joined to one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import stats

from demur.metrics import Estimate

NO_ESTIMATE = Estimate(None, None, None, 0, "it was not measured")
_FEWEST = 3
"""Seeds from which on their spread gives an interval."""


@dataclass(frozen=True)
class Cell:
    """What was done to what: a model, without or with its defence, under one setting of one attack."""

    model: str
    is_defended: bool
    attack: str
    variant: str = ""
    """Its settings, as the grid words them."""
    label: str = ""
    """Strength of an attack that is no step, such as ``prefill=10``."""
    data: str = ""
    rank: str = ""
    learning_rate: str = ""
    variant_id: str = ""
    """Stands for all settings: words may be the same for two of them."""
    recipe_id: str = ""
    """Stands for all settings but rank and steps."""
    is_ambiguous: bool = False
    """Whether another variant of the attack reads alike."""

    @property
    def setting(self) -> str:
        """The setting in words; empty where the attack has one only."""
        named = (("", self.data), ("rank ", self.rank), ("rate ", self.learning_rate))
        known = [f"{name}{value}" for name, value in named if value] or [self.variant]
        mark = f"variant {self.variant_id}" if self.is_ambiguous else ""
        return ", ".join(part for part in (self.label, *known, mark) if part)

    def with_defence(self, is_defended: bool) -> Cell:
        """The same done to the model without, or with, its defence."""
        return replace(self, is_defended=is_defended)


@dataclass(frozen=True)
class Cost:
    """What the attack had spent by a step; None where it is not known."""

    flops: float | None = None
    trainable: float | None = None
    examples: float | None = None
    queries: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Point:
    """One figure at one step."""

    step: int
    estimate: Estimate
    cost: Cost = Cost()
    is_censored: bool = False
    """Whether the run was stopped here as saturated."""
    uncorrected: float | None = None
    """The figure as the judge gave it, where it is corrected for the judge's errors; None where it is not told."""


@dataclass(frozen=True)
class Curve:
    """One figure of a cell along its steps."""

    cell: Cell
    points: tuple[Point, ...]
    """Over all seeds, steps rising; those without a value are left out."""
    seeds: Mapping[int, tuple[Point, ...]]
    """Each seed alone."""
    parameters: float | None = None
    missing: str = ""
    """Why there is no point."""

    @property
    def is_stepped(self) -> bool:
        """Whether it leads over several steps."""
        return len({point.step for point in self.points}) > 1

    @property
    def values(self) -> tuple[float, ...]:
        """Of its points."""
        return tuple(point.estimate.value for point in self.points if point.estimate.value is not None)


@dataclass(frozen=True)
class LeftOut:
    """A cell that could not be run, or not to its end."""

    cell: Cell
    seed: str
    reason: str


@dataclass(frozen=True)
class HalfPoint:
    """C50 of a cell: an estimate, or a bound."""

    cell: Cell
    parameters: float | None
    estimate: Estimate
    bound: str
    """``above`` or ``below`` where only a bound is known."""
    bound_at: float | None


@dataclass(frozen=True)
class Difference:
    """A figure of the hardened model less the base's, on the same seeds and prompts."""

    cell: Cell
    step: int
    metric: str
    base: float | None
    hardened: float | None
    estimate: Estimate
    p: float | None
    adjusted: float | None
    """p after Holm's adjustment over all headline cells."""


def join_points(points: Sequence[Point], level: float = 0.95) -> Point:
    """One step of all seeds: mean costs, and the mean figure with Student's interval over three seeds or more."""
    if len(points) == 1:
        return points[0]
    names = [field.name for field in fields(Cost)]
    costs = {name: _average([getattr(point.cost, name) for point in points]) for name in names}
    known = [point for point in points if point.estimate.value is not None]
    is_censored = any(point.is_censored for point in points)
    if not known:
        return replace(points[0], cost=Cost(**costs), is_censored=is_censored)
    values = np.array([point.estimate.value for point in known])
    mean, n = float(values.mean()), sum(point.estimate.n for point in known)
    if np.ptp(values) == 0:
        # Nothing in it is drawn by the seed: a spread of 0 would look like certainty.
        first = known[0].estimate
        estimate = replace(first, reason=first.reason or "the same for every seed")
    elif len(values) < _FEWEST:
        estimate = Estimate(mean, None, None, n, f"no interval over {len(values)} seeds")
    else:
        half = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
        estimate = Estimate(mean, mean - half, mean + half, n, f"Student's interval over {len(values)} seeds")
    return Point(points[0].step, estimate, Cost(**costs), is_censored)


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
