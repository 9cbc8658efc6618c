"""The losses at one layer, as sums over tokens; whoever calls divides by the tokens of the whole step.

Sums make a step the same however it is split into forward passes and processes. Norms and cosines are taken in
float32 whatever the arithmetic of the model.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def cosines(adapted: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Cosine of each token's adapted state with its base state: two ``(n, d)`` give ``(n,)``."""
    found: torch.Tensor = functional.cosine_similarity(adapted.float(), base.float(), dim=-1, eps=1e-8)
    return found


def turns(adapted: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """1 minus the cosine of each token, ``(n,)``: half the squared distance of directions, exact near 0 too."""
    one, other = (functional.normalize(states.double(), dim=-1) for states in (adapted, base))
    found: torch.Tensor = (one - other).square().sum(dim=-1) / 2
    return found


def rerouting_sum(adapted: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Sum over tokens of max(0, cos): nothing is gained beyond orthogonality."""
    return cosines(adapted, base).relu().sum()


def random_vector_sum(adapted: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Sum over tokens of the distance between a state's direction and one fixed random unit vector ``(d,)``."""
    unit: torch.Tensor = functional.normalize(adapted.float(), dim=-1)
    distance: torch.Tensor = torch.linalg.vector_norm(unit - direction, dim=-1)
    return distance.sum()


def probe_sum(adapted: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Sum over tokens of -log P(harmless) by a frozen linear probe; ``weight`` ``(d,)`` points to harm."""
    # A product and a sum: a matrix product would be in half precision under autocast.
    return functional.softplus((adapted.float() * weight).sum(dim=-1) + bias).sum()


def distance_sum(adapted: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Sum over tokens of the L2 distance between adapted and base state."""
    distance: torch.Tensor = torch.linalg.vector_norm(adapted.float() - base.float(), dim=-1)
    return distance.sum()
