"""What held-out rows say while a breaker is trained, and whether that is enough.

For each target layer: the cosine between adapted and base states of breaker rows (1 at the start, 0 when
rerouted) and the ratio of their norms (a breaker that shouts can be heard). For each layer, and for each kind of
rows: how far retain rows moved, relative to the norm of their states. Where asked for: KL of the next token on
retain rows, at full depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from demur.harden._config import StopRule
from demur.harden._losses import cosines, turns
from demur.harden._module import BreakerModule, Picks


@dataclass(frozen=True)
class KlSummary:
    """KL(base || adapted) of the next token on the answers of held-out retain rows, in nats."""

    mean: float
    p99: float
    """99th percentile over tokens."""
    first: float
    """Mean over rows, of an answer's first token."""
    tokens: int
    kinds: dict[str, float] = field(default_factory=dict)
    """Mean over tokens, by the kind of row."""

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        found = {"mean": self.mean, "p99": self.p99, "first": self.first, "tokens": self.tokens}
        return {**found, "kinds": dict(self.kinds)}


@dataclass(frozen=True)
class Validation:
    """Figures of held-out rows; layers are states as transformers counts them."""

    step: int
    cosine: dict[int, float]
    """Target layer to the mean cosine over breaker tokens."""
    norm_ratio: dict[int, float]
    """Target layer to the mean norm of adapted over that of base states, breaker tokens."""
    retain: dict[int, float]
    """Layer to the mean L2 distance over the mean norm of the base, retain tokens."""
    kl: KlSummary | None = None
    turned: dict[int, float] = field(default_factory=dict)
    """Target layer to 1 minus that cosine, to all digits where it is near 0."""
    retain_kinds: dict[str, float] = field(default_factory=dict)
    """Kind of retain rows to the mean over layers of :attr:`retain`, of these rows alone."""

    @property
    def highest_cosine(self) -> float:
        """Of the target layers."""
        return max(self.cosine.values())

    @property
    def mean_retain(self) -> float:
        """Over the layers."""
        return sum(self.retain.values()) / len(self.retain)

    def to_json(self) -> dict[str, Any]:
        """The figures as a JSON object."""
        return {
            "step": self.step,
            "cosine": {str(layer): value for layer, value in self.cosine.items()},
            "norm_ratio": {str(layer): value for layer, value in self.norm_ratio.items()},
            "retain": {str(layer): value for layer, value in self.retain.items()},
            "kl": self.kl.to_json() if self.kl else None,
            "turned": {str(layer): value for layer, value in self.turned.items()},
            "retain_kinds": dict(self.retain_kinds),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Validation:
        """What :meth:`to_json` wrote."""
        by_layer = {
            name: {int(layer): float(figure) for layer, figure in value.get(name, {}).items()}
            for name in ("cosine", "norm_ratio", "retain", "turned")
        }
        kl = KlSummary(**value["kl"]) if value["kl"] else None
        return cls(int(value["step"]), kl=kl, **by_layer, retain_kinds=dict(value.get("retain_kinds", {})))


def validate(
    module: BreakerModule, batches: Iterable[Mapping[str, torch.Tensor]], step: int, kinds: Sequence[str] = ("",)
) -> Validation:
    """Measure held-out rows, with dropout off and without gradient.

    Parameters
    ----------
    module
        Comes back in the mode it was in.
    batches
        As the collator makes them; with several kinds also ``kinds``, the number of each row's ``(batch,)``.
    step
        For the record.
    kinds
        Names of the kinds of retain rows.
    """
    plan, device = module.plan, module.scales.device
    needed = {state: (True, state in plan.targets) for state in plan.retained}
    kept = torch.zeros(len(plan.retained), len(kinds), 2, dtype=torch.float64)
    broken = torch.zeros(len(plan.retained), 5, dtype=torch.float64)
    was_training = module.training
    module.eval()
    try:
        for batch in batches:
            moved = {name: tensor.to(device) for name, tensor in batch.items()}
            picks = Picks.of(moved["tokens"], moved["is_breaker"])
            base = module.trace(moved, picks, needed)
            adapted = module.trace(moved, picks, needed, is_adapted=True)
            rows = torch.div(picks.retain, moved["tokens"].shape[1], rounding_mode="floor")
            kind = moved["kinds"][rows].cpu() if "kinds" in moved else torch.zeros(len(rows), dtype=torch.long)
            for number, state in enumerate(plan.retained):
                kept[number].index_add_(0, kind, _measure_kept(base[state][0], adapted[state][0]))
                if state in plan.targets:
                    broken[number] += _measure_broken(base[state][1], adapted[state][1])
    finally:
        module.train(was_training)
    (distance, norm), every = kept.unbind(-1), kept.sum(dim=1)
    cosine, turned, louder, before, tokens = broken.T
    places = {state: plan.retained.index(state) for state in plan.targets}
    return Validation(
        step,
        cosine={state: float(cosine[at] / tokens[at]) for state, at in places.items()},
        norm_ratio={state: float(louder[at] / before[at]) for state, at in places.items()},
        retain={state: float(every[at, 0] / every[at, 1]) for at, state in enumerate(plan.retained)},
        turned={state: float(turned[at] / tokens[at]) for state, at in places.items()},
        retain_kinds={
            name: float((distance[:, at] / norm[:, at]).mean())
            for at, name in enumerate(kinds)
            if name and bool(norm[:, at].all())
        },
    )


def _measure_kept(base: torch.Tensor | None, adapted: torch.Tensor | None) -> torch.Tensor:
    """Of every retain token how far it moved and how long it was, ``(n, 2)``."""
    assert base is not None
    assert adapted is not None
    found = [(adapted.float() - base.float()).norm(dim=-1), base.float().norm(dim=-1)]
    return torch.stack(found, dim=-1).double().cpu()


def _measure_broken(base: torch.Tensor | None, adapted: torch.Tensor | None) -> torch.Tensor:
    """Sums over breaker tokens ``(5,)``: cosine, 1 minus cosine, norms after and before, count."""
    assert base is not None
    assert adapted is not None
    found = [cosines(adapted, base), turns(adapted, base), adapted.float().norm(dim=-1), base.float().norm(dim=-1)]
    return torch.stack([*found, torch.ones_like(found[0])]).double().sum(dim=-1).cpu()


def is_enough(history: Sequence[Validation], rule: StopRule) -> bool:
    """Whether the last validations say that training may stop: rerouted at all targets, retain rows near, at rest.

    Parameters
    ----------
    history
        All validations so far.
    rule
        See :class:`StopRule`.
    """
    if not rule.enabled or len(history) <= rule.patience:
        return False
    last = history[-rule.patience - 1 :]
    return all(
        now.highest_cosine < rule.cosine
        and now.mean_retain <= rule.retain
        and abs(now.mean_retain - before.mean_retain) <= rule.flat * max(before.mean_retain, 1e-12)
        for before, now in pairwise(last)
    )
