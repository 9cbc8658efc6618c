"""The gate: a challenger goes on only if it is shown to be no worse than the champion, on every guarded slice.

Pure: from what both models said of the same rows to a verdict with its reasons. Who judges is in ``_compare``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.analysis import AnalysisConfig, Pair, Predicted, adjust_holm, compare_pairs, to_plain
from demur.serve.retrain._config import CompareConfig
from demur.serve.retrain._noninferior import FEW_GROUPS, NonInferiority, noninferiority, score_z

if TYPE_CHECKING:
    from demur.tasks import Task

CHAMPION, CHALLENGER = "champion", "challenger"
GOLDEN, RECENT = "golden", "recent"
ALL = "all"
_SHOWN = 5
BANDS = ((200, "short"), (1000, "medium"))
"""Characters below which a judged text is short, and medium."""


@dataclass(frozen=True)
class JudgedSet:
    """Rows that both models judged."""

    name: str
    """``golden`` or ``recent``."""
    champion: Predicted
    challenger: Predicted
    columns: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    """Column to the value of each row; rows without a value are in no slice of it."""
    flagged: Mapping[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = field(default_factory=dict)
    """Operating point to what the champion and the challenger flag, ``(n,)`` each."""


@dataclass(frozen=True)
class GuardedSlice:
    """Rows on which the challenger must be no worse."""

    set: str
    name: str
    """``all``, ``column=value``, or ``flagged at POINT, threat``."""
    result: NonInferiority
    accuracy_champion: float
    accuracy_challenger: float
    p_holm: float | None = None
    """Of the same claim beside those of all other slices; of a slice that is too small, of being worse."""
    verdict: str = "too_small"
    """``no_worse``, ``worse`` (by the margin, as it looks, or surely by some), ``not_shown``, or ``too_small``."""

    @property
    def title(self) -> str:
        """Set and slice."""
        return f"{self.set}/{self.name}"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        told: dict[str, Any] = to_plain(asdict(self))
        return told


@dataclass(frozen=True)
class GateReport:
    """Whether the challenger may go on, and all that speaks for and against it."""

    reasons: tuple[str, ...]
    """Why it is refused; empty: it is accepted."""
    warnings: tuple[str, ...]
    slices: tuple[GuardedSlice, ...]
    pairs: Mapping[str, Pair]
    """Set to the tests of challenger less champion on all of its rows."""

    @property
    def is_accepted(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "is_accepted": self.is_accepted,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "slices": [one.to_json() for one in self.slices],
            "pairs": {name: to_plain(pair) for name, pair in self.pairs.items()},
        }


def pass_gate(task: Task, sets: Sequence[JudgedSet], config: CompareConfig) -> GateReport:
    """Compare two models on every set and slice.

    Every slice is tested for non-inferiority at ``alpha``, and all must be shown: then a challenger that is worse
    by the margin on some slice is accepted at most so often, however many slices there are. Where ``joint`` is
    set, Holm's procedure also makes the single claims hold together. A slice on which even the champion's very own
    answers would not be enough is not tested and named in the warnings; it counts against the challenger all the
    same where it is surely worse there, by Holm's procedure over those slices: there one finding is enough to
    refuse, and many small slices would find something by chance.

    Parameters
    ----------
    task
        The task.
    sets
        The golden set, and recent rows if there are any.
    config
        Margin and level.

    References
    ----------
    Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24, 1982, theorem 1 (where all
    claims must be shown, each may be tested at the whole level); Holm, Scand. J. Statist. 6, 1979.
    """
    slices = [one for found in sets for one in _cut(task, found, config)]
    tested = choose_testable([one.result for one in slices], config)
    chosen = list(zip(slices, tested, strict=True))
    shown = adjust_holm([one.result.p if is_in else None for one, is_in in chosen])
    worse = adjust_holm([None if is_in else one.result.p_worse for one, is_in in chosen])
    judged = tuple(
        _judge(one, p_shown, config) if p_shown is not None else _judge_small(one, p_worse, config)
        for one, p_shown, p_worse in zip(slices, shown, worse, strict=True)
    )
    pairs = {found.name: _compare(task, found, config) for found in sets}
    reasons = [*_score_reasons(pairs, config), *_slice_reasons(judged, config)]
    small = [one.title for one in judged if one.verdict == "too_small"]
    warnings = [f"too few rows to be tested: {_listed(small)}"] if small else []
    return GateReport(tuple(reasons), tuple(warnings), judged, pairs)


def choose_testable(results: Sequence[NonInferiority], config: CompareConfig) -> list[bool]:
    """Which slices can pass at all: those that would if both models gave the same answers there.

    That goes by the sizes of the groups alone, so that no answer takes a slice out of the test: a challenger that
    fails on whole groups would raise the design effect of its answers until its worst slice counts as too small.
    Where that effect is the smaller one, more slices are tested, which can only refuse. Where claims must hold
    jointly, the smallest is left out until the rest would pass together.

    Parameters
    ----------
    results
        One a slice.
    config
        Level, margin and least rows.
    """
    worth = [one.n / min(one.design_effect, one.worst_effect) for one in results]
    order = sorted(
        (place for place, one in enumerate(results) if one.n >= config.min_rows and one.groups >= FEW_GROUPS),
        key=lambda place: -results[place].n / results[place].worst_effect,
    )
    while order:
        best: list[float | None] = [_best_p(worth[place], config.margin) for place in order]
        best = adjust_holm(best) if config.joint else best
        if all(p is not None and p <= config.alpha for p in best):
            break
        order.pop()
    return [place in set(order) for place in range(len(results))]


def _best_p(rows: float, margin: float) -> float:
    return 1 - NormalDist().cdf(score_z(0, 0, rows, -margin))


def _cut(task: Task, found: JudgedSet, config: CompareConfig) -> Iterator[GuardedSlice]:
    truth = found.champion.y
    right = (found.champion.called == truth, found.challenger.called == truth)
    groups = found.champion.groups
    whole = np.ones(len(truth), dtype=np.bool_)
    for name, mask in ((ALL, whole), *_masks(task, found, config.slices)):
        yield _slice(f"{found.name}\0{name}", mask, right, groups, config)
    sides = {"threat": task.label_ids(task.threat_labels), "safe": task.label_ids(task.safe_labels)}
    for point, flags in found.flagged.items():
        for side, labels in sides.items():
            mask = np.isin(truth, labels)
            if mask.any():
                wanted = side == "threat"
                name = f"{found.name}\0flagged at {point}, {side}"
                yield _slice(name, mask, (flags[0] == wanted, flags[1] == wanted), groups, config)


def _masks(task: Task, found: JudgedSet, columns: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    given = {**found.columns, "label": [task.labels[number] for number in found.champion.y]}
    for column in columns:
        values = given.get(column)
        if values is None:
            continue
        cells = np.array([*values, None], dtype=object)[:-1]
        for value in sorted({str(one) for one in values if one is not None}):
            mask = np.array([one is not None and str(one) == value for one in cells], dtype=np.bool_)
            if column == "label" or not mask.all():  # a column with one value is the whole set again
                yield f"{column}={value}", mask


def _slice(
    name: str,
    mask: NDArray[np.bool_],
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    groups: NDArray[np.int64],
    config: CompareConfig,
) -> GuardedSlice:
    old, new = right[0][mask], right[1][mask]
    result = noninferiority(new, old, groups[mask], config.margin, config.alpha)
    set_name, _, slice_name = name.partition("\0")
    return GuardedSlice(set_name, slice_name, result, float(old.mean()), float(new.mean()))


def _judge(one: GuardedSlice, p_holm: float, config: CompareConfig) -> GuardedSlice:
    if (p_holm if config.joint else one.result.p) <= config.alpha:
        verdict = "no_worse"
    else:
        verdict = "worse" if one.result.difference <= -config.margin else "not_shown"
    return replace(one, p_holm=p_holm, verdict=verdict)


def _judge_small(one: GuardedSlice, p_holm: float | None, config: CompareConfig) -> GuardedSlice:
    """A slice too small to show that the challenger is no worse, but perhaps not to show that it is."""
    is_worse = p_holm is not None and p_holm <= config.alpha
    return replace(one, p_holm=p_holm, verdict="worse" if is_worse else "too_small")


def _compare(task: Task, found: JudgedSet, config: CompareConfig) -> Pair:
    """The paired tests of all rows: bootstrap, swapped groups, McNemar by group."""
    settings = AnalysisConfig(draws=config.draws, permutations=config.permutations)
    predicted = {CHALLENGER: found.challenger, CHAMPION: found.champion}
    (pair,) = compare_pairs(task, predicted, "test", settings)
    return pair


def _score_reasons(pairs: Mapping[str, Pair], config: CompareConfig) -> list[str]:
    found = pairs[GOLDEN].metrics["custom_score"]
    if found.difference is None:
        return ["the golden set gives no security score; add rows of every label to it"]
    if found.difference >= -config.score_margin - 1e-12:
        return []
    return [
        f"its security score on the golden set is {found.a:.3f}, below the champion's {found.b:.3f}"
        + (f" by more than {config.score_margin:g}" if config.score_margin else "")
    ]


def _slice_reasons(slices: Sequence[GuardedSlice], config: CompareConfig) -> list[str]:
    reasons = []
    (whole,) = [one for one in slices if (one.set, one.name) == (GOLDEN, ALL)]
    if whole.verdict == "too_small":
        reasons.append(
            f"the golden set is too small to show anything (n={whole.result.n}, {whole.result.groups} groups, "
            f"margin {config.margin:g}); add rows or widen compare.margin"
        )
    for verdict, words in (("worse", "it is worse on"), ("not_shown", "it is not shown to be no worse on")):
        found = sorted((one for one in slices if one.verdict == verdict), key=lambda one: one.result.difference)
        if found:
            reasons.append(f"{words} {_listed([_describe(one) for one in found])}")
    small = [one.title for one in slices if one.verdict == "too_small" and one is not whole]
    if small and config.small == "refuse":
        reasons.append(f"slices are too small to be tested: {_listed(small)}")
    return reasons


def _describe(one: GuardedSlice) -> str:
    return (
        f"{one.title} ({one.accuracy_challenger:.3f} against {one.accuracy_champion:.3f} right, n={one.result.n}, "
        f"at worst {one.result.low:+.3f})"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def length_band(chars: int) -> str:
    """``short``, ``medium`` or ``long``, by the characters of the judged text."""
    return next((name for below, name in BANDS if chars < below), "long")
