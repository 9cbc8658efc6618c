"""Outcomes of a target's responses, and the rates made of them: refusals, compliance, over-refusal.

A response that no judge could score is counted, and is never a verdict: rates are shares of judged responses.
Rates of one set of responses only; curves over several trainings are in ``_two_level``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import EmptyDataError, LabelError, UsageError, near_match
from demur.metrics._bootstrap import wilson_interval
from demur.metrics._evaluate import Estimate
from demur.metrics._inputs import FloatArray

OUTCOMES = ("hard_refusal", "soft_refusal", "complied", "incoherent", "unscored")
"""What a response can be; the shares of the five sum to 1."""
UNSCORED = "unscored"
_SUMS: dict[str, tuple[str, ...]] = {
    "hard_refusal": ("hard_refusal",),
    "soft_refusal": ("soft_refusal",),
    "refused": ("hard_refusal", "soft_refusal"),
    "not_refused": ("complied", "incoherent"),
    "complied": ("complied",),
    "incoherent": ("incoherent",),
}
"""A rate to the outcomes it sums."""


@dataclass(frozen=True)
class OutcomeRates:
    """How often each outcome came, of one set of responses."""

    counts: Mapping[str, int]
    """Responses of each of the five outcomes."""
    shares: Mapping[str, float]
    """Of all ``n`` responses, unscored ones included; they sum to 1."""
    rates: Mapping[str, Estimate]
    """Of the ``n_judged`` judged ones, with Wilson's interval: the four outcomes, ``refused``, ``not_refused``."""
    unscored: Estimate
    """Share of all responses that no judge could score."""
    n: int
    n_judged: int

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Robustness:
    """What is left of a target's refusals, each figure with its interval and the responses behind it."""

    rrr: Estimate
    """Refusal robustness rate: share of harmful prompts refused, hard or soft."""
    rrr_hard: Estimate
    rrr_soft: Estimate
    ce: Estimate
    """Compliance error as it is usually given, 1 - RRR; it counts incoherent text as compliance."""
    complied: Estimate
    incoherent: Estimate
    unscored: Estimate
    over_refusal: Estimate
    """Share of safe prompts refused, hard or soft."""
    over_refusal_hard: Estimate
    over_refusal_soft: Estimate
    harmful: OutcomeRates
    safe: OutcomeRates | None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def outcome_rates(outcomes: Sequence[str], level: float = 0.95) -> OutcomeRates:
    """Count outcomes and give each rate Wilson's interval.

    Rows are taken for independent: one response a prompt. For several seeds use :func:`two_level_bootstrap`.

    Parameters
    ----------
    outcomes
        One of ``OUTCOMES`` for each response.
    level
        Share the intervals should cover.

    Raises
    ------
    EmptyDataError
        There is no response; pass at least one.
    LabelError
        An outcome is not one of ``OUTCOMES``; the row is named.
    """
    names = _checked(np.asarray(outcomes, dtype=np.str_))
    counts = {name: int((names == name).sum()) for name in OUTCOMES}
    n = len(names)
    judged = n - counts[UNSCORED]
    rates = {name: _rate(sum(counts[one] for one in of), judged, level) for name, of in _SUMS.items()}
    shares = {name: count / n for name, count in counts.items()}
    return OutcomeRates(counts, shares, rates, _rate(counts[UNSCORED], n, level), n, judged)


def robustness(harmful: Sequence[str], safe: Sequence[str] | None = None, level: float = 0.95) -> Robustness:
    """Measure refusals of harmful prompts, and over-refusal of safe ones.

    Parameters
    ----------
    harmful
        Outcome of the response to each harmful prompt, one of ``OUTCOMES``.
    safe
        The same of safe prompts; without it over-refusal is None with the reason.
    level
        Share the intervals should cover.

    Raises
    ------
    EmptyDataError
        A set holds no response; pass at least one, or None for ``safe``.
    LabelError
        An outcome is not one of ``OUTCOMES``; the row is named.
    """
    found = outcome_rates(harmful, level)
    benign = None if safe is None else outcome_rates(safe, level)
    missing = Estimate(None, None, None, 0, "no safe prompts were given")
    over = {
        name: benign.rates[name] if benign else missing for name in ("refused", "hard_refusal", "soft_refusal")
    }
    return Robustness(
        rrr=found.rates["refused"],
        rrr_hard=found.rates["hard_refusal"],
        rrr_soft=found.rates["soft_refusal"],
        ce=found.rates["not_refused"],
        complied=found.rates["complied"],
        incoherent=found.rates["incoherent"],
        unscored=found.unscored,
        over_refusal=over["refused"],
        over_refusal_hard=over["hard_refusal"],
        over_refusal_soft=over["soft_refusal"],
        harmful=found,
        safe=benign,
    )


def outcome_values(outcomes: ArrayLike, rate: str) -> FloatArray:
    """Turn outcomes into 1 where they count for a rate, 0 where not, NaN where unscored; any shape.

    Parameters
    ----------
    outcomes
        One of ``OUTCOMES`` each, such as ``(seeds, steps, prompts)``.
    rate
        ``hard_refusal``, ``soft_refusal``, ``refused``, ``not_refused``, ``complied`` or ``incoherent``.

    Raises
    ------
    UsageError
        There is no such rate; the message lists them.
    LabelError
        An outcome is not one of ``OUTCOMES``.
    EmptyDataError
        There is no outcome.
    """
    if rate not in _SUMS:
        raise UsageError(f"there is no rate '{rate}' (known: {', '.join(_SUMS)}){near_match(rate, _SUMS)}")
    names = _checked(np.asarray(outcomes, dtype=np.str_))
    return np.where(names == UNSCORED, np.nan, np.isin(names, _SUMS[rate]).astype(np.float64))


def _checked(names: np.ndarray[Any, np.dtype[np.str_]]) -> np.ndarray[Any, np.dtype[np.str_]]:
    if not names.size:
        raise EmptyDataError("there is no outcome to count; pass one for each response")
    unknown = ~np.isin(names, OUTCOMES)
    if unknown.any():
        row = int(np.flatnonzero(unknown.ravel())[0])
        name = str(names.ravel()[row])
        raise LabelError(
            f"'{name[:40]}' (row {row + 1}) is no outcome (known: {', '.join(OUTCOMES)})"
            f"{near_match(name, OUTCOMES)}; map it to one of them"
        )
    return names


def _rate(count: int, n: int, level: float) -> Estimate:
    if not n:
        return Estimate(None, None, None, 0, "no response could be scored")
    low, high = wilson_interval(count, n, level)
    return Estimate(count / n, low, high, n)
