"""The model in fewer bits, as most people run it: a change of the weights that no attacker made.

What is measured is the rounding, not the speed: weights are rounded and then used as floats, which gives what a
quantised model computes up to the order of its sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from demur.errors import UsageError
from demur.llm import Target, find_blocks
from demur.stress._protocol import Access, Attack, Cost, Setting, Stage
from demur.stress._restore import restoring
from demur.stress.quantise._config import Bits, QuantiseConfig
from demur.stress.quantise._round import round_rows, round_weight


class QuantiseAttack(Attack[QuantiseConfig]):
    """Every linear layer of the blocks rounded; embeddings, norms and the output matrix are left, as is usual."""

    name = "quantise"
    access: ClassVar[Access] = "weights"
    title = "The model is run in fewer bits, as on a small machine; nobody attacks."
    config_type = QuantiseConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        for bits in dict.fromkeys(self.config.bits):
            label = f"bits={bits}"
            if (0, label) in setting.done:
                yield Stage(target, 0, Cost(), label=label)
                continue
            with quantising(target.module, bits, self.config) as error:
                yield Stage(target, 0, Cost(), label=label, notes={"relative_error": error})


@contextmanager
def quantising(module: Any, bits: Bits, config: QuantiseConfig) -> Iterator[float]:
    """Round a model's linear layers, for a block; gives the relative error of the weights (Frobenius).

    Parameters
    ----------
    module
        A causal language model of transformers, or a PeftModel around one.
    bits
        The kind of numbers.
    config
        Groups, backend, whether an adapter is merged first.

    Raises
    ------
    UsageError
        The model has no linear layer, or its weights are quantised already.
    """
    import torch

    with ExitStack() as undo:
        undo.enter_context(restoring(module))
        if config.merge and hasattr(module, "merge_adapter"):
            undo.callback(module.unmerge_adapter)
            module.merge_adapter()
        layers = find_linears(module)
        lost = kept = 0.0
        with torch.no_grad():
            for layer in layers:
                rounded = round_weight(layer.weight.data, bits, config)
                lost += float((rounded.float() - layer.weight.data.float()).square().sum())
                kept += float(layer.weight.data.float().square().sum())
                layer.weight.data.copy_(rounded)
        if bits == "int8":
            for layer in layers:
                undo.callback(layer.register_forward_pre_hook(_round_input).remove)
        yield float((lost / kept) ** 0.5) if kept else 0.0


def find_linears(module: Any) -> list[Any]:
    """The linear layers of a model's blocks, without an adapter's own.

    Raises
    ------
    UsageError
        There is none, or one is quantised already.
    """
    from torch import nn

    named = [
        (name, part)
        for name, part in find_blocks(module).named_modules()
        if isinstance(part, nn.Linear) and ".lora_" not in name
    ]
    if not named or any(not part.weight.is_floating_point() for _, part in named):
        raise UsageError(
            "the model has no linear layer of floats to round; load it in fp32, bf16 or fp16, or leave the attack "
            "'quantise' out"
        )
    return [part for _, part in named]


def _round_input(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Each token by its own largest value, as dynamic quantisation does."""
    import torch

    (states, *rest) = given
    return (round_rows(states.to(torch.promote_types(states.dtype, torch.float32))).to(states.dtype), *rest)
