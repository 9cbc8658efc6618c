"""How far judges agree: beyond chance (Cohen's kappa), and as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Two judges on the responses that both judged."""

    judges: tuple[str, str]
    kappa: float | None
    """None where chance alone would agree on everything."""
    raw: float | None
    """Share of equal verdicts; None without a response."""
    n: int

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"judges": list(self.judges)}


def agree(verdicts: Mapping[str, Sequence[str]], unscored: str = "unscored") -> list[Agreement]:
    """Agreement of every pair of judges on the same responses.

    Parameters
    ----------
    verdicts
        Judge to its verdicts, all in one order.
    unscored
        The verdict that is none; such rows are left out.

    References
    ----------
    Cohen, A coefficient of agreement for nominal scales, Educ. Psychol. Meas. 20, 1960.
    """
    return [_pair(names, [verdicts[name] for name in names], unscored) for names in combinations(verdicts, 2)]


def _pair(names: tuple[str, str], verdicts: Sequence[Sequence[str]], unscored: str) -> Agreement:
    kept = [pair for pair in zip(*verdicts, strict=True) if unscored not in pair]
    if not kept:
        return Agreement(names, None, None, 0)
    first, second = (np.array(one) for one in zip(*kept, strict=True))
    raw = float((first == second).mean())
    labels = np.unique(np.concatenate([first, second]))
    chance = float(sum((first == label).mean() * (second == label).mean() for label in labels))
    return Agreement(names, (raw - chance) / (1 - chance) if chance < 1 else None, raw, len(kept))
