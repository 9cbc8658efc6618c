"""What a robustness card says; nothing here reads or writes a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from demur.metrics import Estimate
from demur.report.stress._cells import NO_ESTIMATE


@dataclass(frozen=True)
class AttackLine:
    """One attack or control at its worst setting: shares of harmful prompts complied with."""

    name: str
    title: str
    """What is done, in one sentence."""
    access: str
    """What the attacker holds."""
    place: str
    """The worst setting and step, and what it cost."""
    base: Estimate
    hardened: Estimate
    difference: Estimate
    """Hardened less base at the hardened model's worst setting and step, on the same seeds and prompts; not of
    ``hardened`` and ``base``, which are each at its own worst: see ``base_there``."""
    refused: Estimate
    """Share the hardened model refused there; what is neither refused nor complied with is incoherent."""
    verdict: str
    """``wins``, ``wins in part``, ``not settled`` or ``held``."""
    base_there: Estimate = NO_ESTIMATE
    """The base at the hardened model's worst setting and step."""

    @property
    def note(self) -> str:
        """What is done, and where it was worst."""
        return f"{self.title} Worst: {self.place}".strip()


@dataclass(frozen=True)
class BenignLine:
    """One figure of safe prompts or ordinary text, without any attack."""

    name: str
    base: Estimate
    hardened: Estimate
    note: str = ""
    """How to read it."""


@dataclass(frozen=True)
class RobustnessCard:
    """What a defence is worth."""

    name: str
    target: str
    defence: str
    headline: tuple[str, ...]
    """What a reader must know first: attacks that still win, by name."""
    attacks: tuple[AttackLine, ...]
    """Worst case first."""
    controls: tuple[AttackLine, ...]
    """The untouched model, back to the base, the defence turned down, a change of equal size without meaning."""
    benign: tuple[BenignLine, ...]
    training: tuple[tuple[str, str], ...]
    """What the defence's own validation said: name and figure."""
    judges: tuple[str, ...]
    """The first one's figures are shown."""
    agreement: tuple[Mapping[str, Any], ...]
    """Pairs of judges: ``judges``, ``raw``, ``kappa``, ``n``."""
    threats: tuple[tuple[str, str], ...]
    """What attackers were let hold, and the attacks of that kind."""
    limits: tuple[str, ...]
    seeds: int
    level: str
    """Of the intervals, as people say it."""
    method: Mapping[str, Any] = field(repr=False)
    """Version, hashes, machine, configuration."""

    def of_verdict(self, verdict: str) -> tuple[AttackLine, ...]:
        """Attacks of a verdict, worst case first; controls are none."""
        return tuple(one for one in self.attacks if one.verdict == verdict)

    def to_json(self) -> dict[str, Any]:
        """The card as a JSON object, with the version of its format."""
        return {"format": 2, **asdict(self)}
