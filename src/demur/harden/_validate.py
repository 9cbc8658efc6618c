"""What held-out rows say while a breaker is trained, and whether that is enough.

For each target layer: the cosine between adapted and base states of breaker rows (1 at the start, 0 when
rerouted) and the ratio of their norms (a breaker that shouts can be heard). For each layer: how far retain rows
moved, relative to the norm of their states. Where asked for: KL of the next token on retain rows, at full depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from demur.harden._config import StopRule
from demur.harden._losses import cosines
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

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        return {"mean": self.mean, "p99": self.p99, "first": self.first, "tokens": self.tokens}


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
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Validation:
        """What :meth:`to_json` wrote."""
        by_layer = {
            name: {int(layer): float(figure) for layer, figure in value[name].items()}
            for name in ("cosine", "norm_ratio", "retain")
        }
        kl = KlSummary(**value["kl"]) if value["kl"] else None
        return cls(int(value["step"]), kl=kl, **by_layer)


def validate(module: BreakerModule, batches: Iterable[Mapping[str, torch.Tensor]], step: int) -> Validation:
    """Measure held-out rows, with dropout off and without gradient.

    Parameters
    ----------
    module
        Comes back in the mode it was in.
    batches
        As the collator makes them.
    step
        For the record.
    """
    plan, device = module.plan, module.scales.device
    needed = {state: (True, state in plan.targets) for state in plan.retained}
    totals = torch.zeros(len(plan.retained), 6, dtype=torch.float64)
    was_training = module.training
    module.eval()
    try:
        for batch in batches:
            moved = {name: tensor.to(device) for name, tensor in batch.items()}
            picks = Picks.of(moved["tokens"], moved["is_breaker"])
            base = module.trace(moved, picks, needed)
            adapted = module.trace(moved, picks, needed, is_adapted=True)
            for number, state in enumerate(plan.retained):
                totals[number] += _measure(base[state], adapted[state])
    finally:
        module.train(was_training)
    distance, norm, cosine, louder, before, tokens = totals.T
    places = {state: plan.retained.index(state) for state in plan.targets}
    return Validation(
        step,
        cosine={state: float(cosine[at] / tokens[at]) for state, at in places.items()},
        norm_ratio={state: float(louder[at] / before[at]) for state, at in places.items()},
        retain={state: float(distance[at] / norm[at]) for at, state in enumerate(plan.retained)},
    )


def _measure(base: tuple[Any, Any], adapted: tuple[Any, Any]) -> torch.Tensor:
    """Sums over tokens ``(6,)``: distance and norm of retain states; cosine, norms and count of breaker states."""
    (kept, broken), (kept_now, broken_now) = base, adapted
    found = [(kept_now.float() - kept.float()).norm(dim=-1).sum(), kept.float().norm(dim=-1).sum()]
    if broken is not None:
        found += [cosines(broken_now, broken).sum(), broken_now.float().norm(dim=-1).sum()]
        found += [broken.float().norm(dim=-1).sum(), torch.tensor(len(broken), device=broken.device)]
    sums = torch.zeros(6, dtype=torch.float64)
    for number, value in enumerate(found):
        sums[number] = value.double().cpu()
    return sums


def is_enough(history: Sequence[Validation], rule: StopRule) -> bool:
    """Whether the last validations say that training may stop: rerouted at every target, and retain rows at rest.

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
        and abs(now.mean_retain - before.mean_retain) <= rule.flat * max(before.mean_retain, 1e-12)
        for before, now in pairwise(last)
    )
