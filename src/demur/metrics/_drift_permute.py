"""Permutation p-values that take few draws where nothing is to be seen, and the result that drift tests share.

The statistics themselves stand in the modules beside this one; each says how its draws are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import Field

from demur.config import Settings
from demur.metrics._inputs import FloatArray

Draw = Callable[[int, np.random.Generator], FloatArray]
"""Values of the statistic, ``(d,)``, under ``d`` fresh permutations."""
_FIRST, _LARGEST = 100, 1600
_TIE = 1e-12
"""Relative difference below which a drawn value equals the observed one, but for rounding."""


class Permutations(Settings):
    """How many permutations stand behind a p-value."""

    most: int = Field(default=9999, ge=99, le=10**7, description="Draws after which a test ends.")
    stop: int = Field(
        default=20, ge=5, description="Ends sooner once so many draws were as large: nothing is to be seen."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the draws.")


@dataclass(frozen=True)
class DriftTest:
    """One test of a window against the reference; ``p_value`` is None, with the reason, where there is none."""

    name: str
    statistic: float | None
    p_value: float | None
    n_reference: int
    n_current: int
    method: str = ""
    """How the p-value was come by."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else belongs to the statistic, such as its mean without drift."""
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def sequential_p_value(observed: float, draw: Draw, settings: Permutations) -> tuple[float, int]:
    """The p-value of a statistic that is large under drift, and the draws it took.

    With ``h`` values as large as observed after ``l`` draws, where ``h`` is ``settings.stop``: h / l. Where that
    many never come: (1 + as large) / (1 + draws). Either is a valid p-value whatever the statistic, if the rows
    may be exchanged when there is no drift.

    Parameters
    ----------
    observed
        The statistic of the rows as they came.
    draw
        The same under fresh permutations.
    settings
        Number of draws and their seed.

    References
    ----------
    Besag and Clifford, Sequential Monte Carlo p-values, Biometrika 78, 1991, section 2.
    """
    generator = np.random.default_rng(settings.seed)
    bar = observed - _TIE * max(1.0, abs(observed))
    larger = drawn = 0
    size = min(_FIRST, settings.most)
    while drawn < settings.most:
        places = np.flatnonzero(draw(size, generator) >= bar)
        if larger + len(places) >= settings.stop:
            last = drawn + int(places[settings.stop - larger - 1]) + 1
            return settings.stop / last, last
        larger, drawn = larger + len(places), drawn + size
        size = min(2 * size, _LARGEST, settings.most - drawn)
    return (1 + larger) / (1 + drawn), drawn


def draw_members(n: int, m: int, count: int, generator: np.random.Generator) -> FloatArray:
    """``count`` random choices of ``m`` of ``n + m`` rows, ``(count, n + m)`` of 0 and 1."""
    order = generator.random((count, n + m)).argpartition(m - 1, axis=1)[:, :m]
    members = np.zeros((count, n + m))
    np.put_along_axis(members, order, 1.0, axis=1)
    return members
