"""One module whose forward pass is a whole step: base states without gradient, adapted states, both losses.

Everything a step computes happens inside one ``forward``, so engines that wrap a module (DDP, DeepSpeed) or split
its weights (FSDP2) see all of it; whatever else runs the model does so in :meth:`BreakerModule.inside`. Retain
and breaker rows are one batch; blocks above the highest state that counts are not run, nor the head; each layer's
loss is summed as soon as the layer is reached, and its base states are let go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from demur.harden._blocks import Stack, find_stack
from demur.harden._losses import distance_sum, probe_sum, random_vector_sum, rerouting_sum

if TYPE_CHECKING:
    from demur.harden._config import HardenConfig

T = TypeVar("T")
States = dict[int, tuple[torch.Tensor | None, torch.Tensor | None]]
"""State to those of the tokens that count, ``(n, d)``: of retain rows, of breaker rows."""


@dataclass(frozen=True)
class StatePlan:
    """Which states count for which loss."""

    targets: tuple[int, ...]
    """States that are rerouted, from 1."""
    retained: tuple[int, ...]
    """States that are held still, from 1."""
    blocks: int
    """Blocks that are run and adapted."""
    faithful: bool
    """Whether the highest retained state is taken after the final norm, and the embedding counts as a layer."""

    @property
    def layers(self) -> int:
        """What the sum over retained states is divided by."""
        return len(self.retained) + self.faithful


def plan_states(config: HardenConfig, targets: Sequence[int]) -> StatePlan:
    """The states of a configuration whose target layers are resolved.

    The faithful retain loss also holds the block above the highest target, as its authors did; the scaled one
    leaves that block out, since no breaker loss reaches it.
    """
    highest = max(targets)
    faithful = config.retain_loss == "faithful"
    blocks = highest + faithful
    return StatePlan(tuple(targets), tuple(range(1, blocks + 1)), blocks, faithful)


class BreakerModule(nn.Module):
    """A language model with adapters, and the losses of a circuit breaker.

    Parameters
    ----------
    model
        A ``PeftModel`` around a causal language model.
    plan
        Which states count.
    objective
        What breaker states are pushed to.
    """

    scales: torch.Tensor
    directions: torch.Tensor
    biases: torch.Tensor

    def __init__(self, model: Any, plan: StatePlan, objective: str = "rerouting") -> None:
        super().__init__()
        self.model = model
        self.plan = plan
        self.objective = objective
        base = model.get_base_model()
        self.config = base.config
        width = base.get_input_embeddings().weight.shape[1]
        # Kept in float32, and in every checkpoint; accelerate cannot spread what a state dict holds and FSDP2 does
        # not split, so they are none of its.
        self.register_buffer("scales", torch.ones(len(plan.retained)), persistent=False)
        self.register_buffer("directions", torch.zeros(len(plan.targets), width), persistent=False)
        self.register_buffer("biases", torch.zeros(len(plan.targets)), persistent=False)

    @property
    def stack(self) -> Stack:
        """The decoder and its blocks."""
        return find_stack(self.model.get_base_model())

    def train(self, mode: bool = True) -> BreakerModule:
        """Switch on what training needs: the adapters' dropout and recomputed activations, not the base's dropout.

        Base states are a target and must not be noisy, and adapted states are compared with them.
        """
        super().train(mode)
        if mode:
            blocks = set(self.stack.blocks)
            for name, part in self.model.named_modules():
                recomputes = part in blocks and getattr(part, "gradient_checkpointing", False)
                if "lora_dropout" not in name and not recomputes:
                    part.training = False
        return self

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        tokens: torch.Tensor,
        is_breaker: torch.Tensor,
        weights: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Losses of a batch.

        Parameters
        ----------
        input_ids, attention_mask
            ``(batch, tokens)``, padded on the right.
        tokens
            Which of them count, ``(batch, tokens)`` bool.
        is_breaker
            Which rows are to be rerouted, ``(batch,)`` bool; the others are retained.
        weights
            Factors on the sums of breaker and retain loss: the coefficient over the tokens of the whole step.
        """
        picks = Picks.of(tokens, is_breaker)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        base = self._trace(batch, picks, self._needed())
        sums = _Sums(self, base, picks)
        with self.stack.watch(self.plan.retained, sums.add):
            last = self._run(batch)
        if self.plan.faithful:
            sums.add(self.plan.blocks, last, is_normed=True)
        breaker, retain = sums.breaker / len(self.plan.targets), sums.retain / self.plan.layers
        return {
            "loss": weights[0] * breaker + weights[1] * retain,
            "breaker": (weights[0] * breaker).detach(),
            "retain": (weights[1] * retain).detach(),
        }

    def inside(self, work: Callable[[], T]) -> T:
        """Call ``work`` as part of a forward pass: whoever runs the model otherwise than by a step does it here.

        Where FSDP2 splits weights, those outside the blocks are whole in a forward pass alone. All processes must
        call it, and with the same work.
        """
        return work()

    def trace(
        self,
        batch: Mapping[str, torch.Tensor],
        picks: Picks,
        needed: Mapping[int, tuple[bool, bool]],
        is_adapted: bool = False,
    ) -> States:
        """States of the tokens that count, without gradient.

        Parameters
        ----------
        batch
            ``input_ids`` and ``attention_mask`` as in :meth:`forward`.
        picks
            The tokens.
        needed
            State to whether retain rows' and breaker rows' states are kept.
        is_adapted
            Whether the adapters are on; else these are the base model's own states, bit for bit.
        """
        return self.inside(partial(self._trace, batch, picks, needed, is_adapted))

    def _trace(
        self,
        batch: Mapping[str, torch.Tensor],
        picks: Picks,
        needed: Mapping[int, tuple[bool, bool]],
        is_adapted: bool = False,
    ) -> States:
        found: States = {}

        def keep(state: int, values: torch.Tensor) -> None:
            flat = values.flatten(0, 1)  # (batch * tokens, d)
            retain, breaker = needed[state]
            found[state] = (flat[picks.retain] if retain else None, flat[picks.breaker] if breaker else None)

        adapters = nullcontext() if is_adapted else self.model.disable_adapter()
        with torch.no_grad(), adapters, self.stack.watch(sorted(needed), keep):
            last = self._run(batch)
            if self.plan.faithful and self.plan.blocks in needed:
                keep(self.plan.blocks, last)
        return found

    def _needed(self) -> dict[int, tuple[bool, bool]]:
        """What the losses need of the base: only rerouting looks at a breaker row's."""
        targets = self.plan.targets if self.objective == "rerouting" else ()
        return {state: (True, state in targets) for state in self.plan.retained}

    def _run(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        stack = self.stack
        with stack.cut(self.plan.blocks):
            output = stack.decoder(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
            )
        state: torch.Tensor = output[0]
        return state


@dataclass(frozen=True)
class Picks:
    """Places of the tokens that count in a batch flattened to ``(batch * tokens, d)``."""

    retain: torch.Tensor
    breaker: torch.Tensor

    @classmethod
    def of(cls, tokens: torch.Tensor, is_breaker: torch.Tensor) -> Picks:
        """Places of both kinds of rows."""
        kind = is_breaker[:, None]
        return cls(*((tokens & one).flatten().nonzero().squeeze(1) for one in (~kind, kind)))


class _Sums:
    """Adds up the losses layer by layer."""

    def __init__(
        self,
        module: BreakerModule,
        base: States,
        picks: Picks,
    ) -> None:
        self._module = module
        self._base = base
        self._picks = picks
        self.breaker = module.scales.new_zeros(())
        self.retain = module.scales.new_zeros(())

    def add(self, state: int, values: torch.Tensor, is_normed: bool = False) -> None:
        """Take in an adapted state ``(batch, tokens, d)``."""
        module, plan = self._module, self._module.plan
        if plan.faithful and state == plan.blocks and not is_normed:
            return
        flat = values.flatten(0, 1)
        retain, breaker = self._base.pop(state)
        if retain is not None:
            distance = distance_sum(flat[self._picks.retain], retain)
            self.retain = self.retain + distance / module.scales[plan.retained.index(state)]
        if state in plan.targets:
            self.breaker = self.breaker + self._breaker_sum(state, flat[self._picks.breaker], breaker)

    def _breaker_sum(self, state: int, adapted: torch.Tensor, base: torch.Tensor | None) -> torch.Tensor:
        module, number = self._module, self._module.plan.targets.index(state)
        if module.objective == "random_vector":
            return random_vector_sum(adapted, module.directions[number])
        if module.objective == "probe":
            return probe_sum(adapted, module.directions[number], module.biases[number])
        assert base is not None
        return rerouting_sum(adapted, base)
