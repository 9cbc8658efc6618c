"""How far judges agree: beyond chance (Cohen's kappa), and as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any


@dataclass(frozen=True)
class Agreement:
    """Two judges on the responses that both judged."""

    judges: tuple[str, str]
    kappa: float | None
    """None where chance alone would agree on everything."""
    raw: float | None
    """Share of equal verdicts; None without a response."""
    n: int
    pairs: tuple[tuple[str, str, int], ...] = ()
    """How often the two gave which verdicts."""

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


def join_agreements(parts: Iterable[Mapping[str, Any]]) -> list[Agreement]:
    """Agreement of every pair of judges over all responses of several parts.

    Its kappa is that of all pairs of verdicts together: parts where both say the same of all count too.

    Parameters
    ----------
    parts
        From :meth:`Agreement.to_json`.
    """
    found: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for part in parts:
        first, second = part["judges"]
        counts = found.setdefault((first, second), Counter())
        for one, other, count in part["pairs"]:
            counts[one, other] += count
    return [_of_counts(names, counts) for names, counts in found.items()]


def _pair(names: tuple[str, str], verdicts: Sequence[Sequence[str]], unscored: str) -> Agreement:
    first, second = verdicts
    both = zip(first, second, strict=True)
    return _of_counts(names, Counter(pair for pair in both if unscored not in pair))


def _of_counts(names: tuple[str, str], counts: Counter[tuple[str, str]]) -> Agreement:
    n = counts.total()
    if not n:
        return Agreement(names, None, None, 0)
    raw = sum(count for (one, other), count in counts.items() if one == other) / n
    sides = Counter[str](), Counter[str]()
    for pair, count in counts.items():
        for side, label in zip(sides, pair, strict=True):
            side[label] += count
    chance = sum(count * sides[1][label] for label, count in sides[0].items()) / n**2
    told = tuple((*pair, count) for pair, count in sorted(counts.items()))
    return Agreement(names, (raw - chance) / (1 - chance) if chance < 1 else None, raw, n, told)
