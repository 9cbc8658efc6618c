"""Whether a step fits the memory, and whether activations must be computed twice for that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from demur.errors import NoMemoryError
from demur.harden._sharded import count_parts
from demur.training import TrainConfig, count_parameters, estimate_memory, measure_activations

if TYPE_CHECKING:
    from demur.harden._config import HardenConfig
    from demur.harden._module import BreakerModule
    from demur.training import MemoryEstimate

_GIB = 2**30
REMEDIES = (
    "raise accumulate (the same step in less memory), set gradient_checkpointing: on, lower data.max_tokens, "
    "lower the layers, or take a smaller model"
)


@dataclass(frozen=True)
class MemoryPlan:
    """What a step was reckoned to need, and what follows from it."""

    estimate: MemoryEstimate
    is_recomputed: bool
    """Whether activations are computed twice."""

    def to_json(self) -> dict[str, Any]:
        """The plan as a JSON object."""
        return self.estimate.to_json() | {"gradient_checkpointing": self.is_recomputed}


def plan_memory(module: BreakerModule, config: HardenConfig, longest: int, rows: int) -> MemoryPlan:
    """Measure what a pass keeps for its backward pass, and decide on gradient checkpointing.

    Parameters
    ----------
    module
        On the device it is trained on.
    config
        What the user decided.
    longest
        Tokens of the longest row.
    rows
        Pairs of rows a forward pass.
    """
    whole, parts = count_parameters(module), count_parts(module)
    counts = replace(whole, total=whole.total // parts, trainable=whole.trainable // parts)
    activations = measure_activations(module, lambda length: _one_pair(module, length), longest)
    if activations.shape is not None:
        # What was measured is a pair of rows through the blocks that are run, not a row through the whole model.
        shape = replace(activations.shape, layers=module.plan.blocks, hidden=2 * activations.shape.hidden)
        activations = replace(activations, shape=shape)

    def estimate(is_recomputed: bool) -> MemoryEstimate:
        device: Literal["auto", "cpu"] = "cpu" if module.scales.device.type == "cpu" else "auto"
        settings = TrainConfig(batch_size=rows, gradient_checkpointing=is_recomputed, device=device)
        found = estimate_memory(counts, settings, activations, longest, loaded=True)
        return replace(found, activations=found.activations + (_gathered_bytes(module) if parts > 1 else 0))

    if config.gradient_checkpointing != "auto":
        is_recomputed = config.gradient_checkpointing == "on"
        return MemoryPlan(estimate(is_recomputed), is_recomputed)
    kept = estimate(False)
    return MemoryPlan(kept, False) if kept.is_enough else MemoryPlan(estimate(True), True)


def _gathered_bytes(module: BreakerModule) -> float:
    """Bytes of the split weights that are whole at once: all beside the blocks, one block, and the next one."""
    blocks = [sum(one.numel() * one.element_size() for one in block.parameters()) for block in module.stack.blocks]
    total = sum(one.numel() * one.element_size() for one in module.parameters())
    return float(total - sum(blocks) + 2 * max(blocks))


def _one_pair(module: BreakerModule, length: int) -> dict[str, torch.Tensor]:
    device = module.scales.device
    ones = torch.ones(2, length, dtype=torch.long, device=device)
    return {
        "input_ids": ones,
        "attention_mask": ones,
        "tokens": ones.bool(),
        "is_breaker": torch.tensor([False, True], device=device),
        "weights": torch.ones(2, device=device),
    }


def recompute_activations(module: BreakerModule) -> None:
    """Compute activations twice from now on, instead of keeping them."""
    base = module.model.get_base_model()
    # The older name gives a warning where the newer one is there.
    name = next(
        one for one in ("activation_checkpointing_enable", "gradient_checkpointing_enable") if hasattr(base, one)
    )
    getattr(base, name)({"use_reentrant": False})


def refuse_too_large(plan: MemoryPlan) -> None:
    """Refuse a training that cannot fit.

    Parameters
    ----------
    plan
        What it was reckoned to need.

    Raises
    ------
    NoMemoryError
        More is needed than is there.
    """
    found = plan.estimate
    if not found.is_enough:
        raise NoMemoryError(
            f"a step needs about {(found.total - found.weights) / _GIB:.1f} GiB beside the weights, but the "
            f"{found.device} has {found.available / _GIB:.1f} GiB free; {REMEDIES}"
        )
