"""From what was said of texts to the labels that are believed: agreement, trust, suspicious flips.

Labels of users, judges and people are kept apart, and what could poison a training is left out and counted. That a
poison which gets through all the same does no harm is left to the comparison with the champion.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demur.serve.retrain._config import LabelsConfig

_SHOWN_KEYS = 10
USER, JUDGE, PEOPLE = "user", "judge", "people"


@dataclass(frozen=True, slots=True)
class Vote:
    """What somebody said of a text."""

    text: str
    """The text in normal form, as the task reads it: votes with the same are on the same thing."""
    row: int
    """Where its texts are found."""
    label: str
    source: str
    at: datetime
    key: str = ""
    """Id of the key it came with; empty: none."""
    subject: str = ""
    served: str | None = None
    """Label that was answered."""
    probability: float = 0.0
    """Of that label."""

    @property
    def voter(self) -> tuple[str, str, str]:
        """Who has one vote on a text, the last one."""
        return self.source, self.key, self.subject

    def is_flip(self, least: float) -> bool:
        """Whether it contradicts an answer that was given with at least this probability."""
        return self.served is not None and self.label != self.served and self.probability >= least


@dataclass(frozen=True, slots=True)
class Decision:
    """The label that is believed of a text."""

    text: str
    row: int
    label: str
    source: str
    """The most trusted source that says so."""
    key: str
    subject: str


@dataclass(frozen=True)
class Decided:
    """All decisions, and what was left out."""

    decisions: tuple[Decision, ...]
    facts: dict[str, Any]


def decide_labels(
    votes: Sequence[Vote], config: LabelsConfig, critical: Iterable[tuple[str, str]] = ()
) -> Decided:
    """Decide the label of every text, or leave it out.

    Of one voter on one text the last vote counts. Within a source, a label needs ``agreement`` of the votes, where
    each key has one vote however many subjects speak through it. People decide against all others; a judge and
    users must say the same. A label of users alone that flips a confident answer needs two keys.

    Parameters
    ----------
    votes
        In any order.
    config
        How much agreement is needed.
    critical
        Pairs (true, called) of labels whose confusion the task punishes; flips between them are counted apart.
    """
    used = [one for one in votes if one.source in config.sources]
    last: dict[tuple[str, tuple[str, str, str]], Vote] = {}
    for vote in sorted(used, key=lambda one: (one.at, one.row, one.label)):
        last[vote.text, vote.voter] = vote
    by_text: dict[str, list[Vote]] = defaultdict(list)
    for vote in last.values():
        by_text[vote.text].append(vote)
    counts: Counter[str] = Counter(
        votes=len(votes), ignored=len(votes) - len(used), repeated=len(used) - len(last)
    )
    decisions = []
    for text in sorted(by_text):
        found = _decide(by_text[text], config)
        if isinstance(found, Decision):
            decisions.append(found)
        else:
            counts[found] += 1
    kept = Counter(one.source for one in decisions)
    facts = {
        **{name: counts[name] for name in ("votes", "ignored", "repeated", "contested", "unconfirmed")},
        "decided": {source: kept[source] for source in (PEOPLE, JUDGE, USER)},
        "flips": count_flips(list(last.values()), config.flip_probability, critical),
    }
    return Decided(tuple(decisions), facts)


def _decide(votes: Sequence[Vote], config: LabelsConfig) -> Decision | str:
    """The decision on one text, or why there is none."""
    labels = {
        source: agreed_label([one for one in votes if one.source == source], config.agreement)
        for source in (PEOPLE, JUDGE, USER)
        if any(one.source == source for one in votes)
    }
    if PEOPLE in labels:
        source, label = PEOPLE, labels[PEOPLE]
    else:
        source, label = next(iter(labels.items()))
        if len(set(labels.values())) > 1:
            return "contested"
    if label is None:
        return "contested"
    said = [one for one in votes if one.source == source and one.label == label]
    if source == USER and config.confirm_flips:
        is_flip = any(one.is_flip(config.flip_probability) for one in said)
        if is_flip and len({one.key for one in said}) < 2:
            return "unconfirmed"
    first = min(said, key=lambda one: (one.at, one.row))
    return Decision(first.text, first.row, label, source, first.key, first.subject)


def agreed_label(votes: Sequence[Vote], agreement: float) -> str | None:
    """The label that has at least the share ``agreement`` of the votes, each key having one; None: none has."""
    of_key: dict[str, Counter[str]] = defaultdict(Counter)
    for vote in votes:
        of_key[vote.key][vote.label] += 1
    shares: Counter[str] = Counter()
    for counts in of_key.values():
        for label, count in counts.items():
            shares[label] += count / counts.total()  # type: ignore[assignment]
    best = max(sorted(shares), key=lambda label: shares[label])
    return best if shares[best] / len(of_key) >= agreement - 1e-9 else None


def count_flips(votes: Sequence[Vote], least: float, critical: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """How often labels contradict a confident answer: by source, by pair of labels, and by key of users."""
    pairs = {frozenset(pair) for pair in critical}
    flips = [one for one in votes if one.is_flip(least)]
    said = Counter(one.key for one in votes if one.source == USER)
    flipped: Counter[str] = Counter()
    for one in flips:
        flipped[one.key] += one.source == USER
    most = sorted(flipped, key=lambda key: (-flipped[key], key))[:_SHOWN_KEYS]
    return {
        "count": len(flips),
        "critical": sum(frozenset((one.label, str(one.served))) in pairs for one in flips),
        "by_source": dict(sorted(Counter(one.source for one in flips).items())),
        "by_labels": dict(sorted(Counter(f"{one.served} to {one.label}" for one in flips).items())),
        "by_key": [
            {"key": key or None, "votes": said[key], "flips": flipped[key]} for key in most if flipped[key]
        ],
    }


def cap_share(counts: Mapping[str, int], fixed: int, share: float) -> int:
    """Most rows that each contributor may keep, so that none has more than ``share`` of all rows that stay.

    All rows are ``fixed`` ones and ``Σ min(count, cap)``; the largest such cap is found by bisection, since
    ``share · (fixed + Σ min(count, cap)) - cap`` is concave in the cap and not negative at 0.

    Parameters
    ----------
    counts
        Contributor to the rows it has.
    fixed
        Rows that are of none of them.
    share
        Above 0, at most 1.
    """

    def fits(cap: int) -> bool:
        return cap <= share * (fixed + sum(min(count, cap) for count in counts.values())) + 1e-9

    low, high = 0, max(counts.values(), default=0)
    if fits(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
