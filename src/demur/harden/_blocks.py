"""The blocks of a language model: watching their outputs, leaving out the upper ones, adapting them.

State ``l`` is what transformers calls ``hidden_states[l]``: 0 is the embedding, ``l`` the output of block
``l - 1``; unlike transformers' last one, that of the last block is not normed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demur.errors import ConfigError, near_match, require
from demur.harden._config import LoraSettings
from demur.llm import find_blocks

if TYPE_CHECKING:
    import torch
    from torch import nn

Watcher = Callable[[int, "torch.Tensor"], None]
"""Is given the number of a state and the state ``(batch, tokens, d)``."""


@dataclass(frozen=True)
class Stack:
    """The decoder of a causal language model and the list of its blocks."""

    decoder: nn.Module
    holder: nn.Module
    """The module whose attribute the list is; in nearly all models the decoder itself."""
    name: str

    @property
    def blocks(self) -> nn.ModuleList:
        """All blocks, the lowest first."""
        found: nn.ModuleList = self.holder.get_submodule(self.name)  # type: ignore[assignment]
        return found

    @contextmanager
    def cut(self, count: int) -> Iterator[None]:
        """Leave out all blocks from number ``count`` on while the block runs; the model is whole again after it.

        The blocks stay in the tree of modules except during the call, so adapters keep the names they have on the
        whole model, and engines that split a model between devices see all of it.
        """
        from torch import nn

        whole = self.blocks
        self.holder._modules[self.name] = nn.ModuleList(list(whole)[:count])
        try:
            yield
        finally:
            self.holder._modules[self.name] = whole

    @contextmanager
    def watch(self, states: Sequence[int], watcher: Watcher) -> Iterator[None]:
        """Call ``watcher`` with each of these states (from 1) as a forward pass reaches it."""
        blocks = self.blocks
        handles = [blocks[state - 1].register_forward_hook(_tell(watcher, state)) for state in states]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _tell(watcher: Watcher, state: int) -> Callable[..., None]:
    def hook(_module: Any, _given: Any, output: Any) -> None:
        # Some models' blocks return a tuple whose first part is the state.
        watcher(state, output[0] if isinstance(output, tuple) else output)

    return hook


def find_stack(model: Any) -> Stack:
    """The decoder and blocks of a causal language model of transformers.

    Raises
    ------
    ConfigError
        The model has no list of as many blocks as its configuration says, or no decoder that holds it.
    """
    decoder, blocks = model.get_decoder(), find_blocks(model)
    parts = decoder.modules() if decoder is not None else ()
    holders = ((holder, name) for holder in parts for name, part in holder.named_children() if part is blocks)
    found = next(holders, None)
    if decoder is None or found is None:
        raise ConfigError(
            f"the blocks of the {model.config.model_type} model are not inside what transformers calls its "
            "decoder, so they cannot be run alone; take a causal language model such as Llama or Qwen",
            key="model",
        )
    return Stack(decoder, *found)


def attach_lora(model: Any, stack: Stack, count: int, settings: LoraSettings) -> Any:
    """Wrap a model into a ``PeftModel`` whose blocks 0 to ``count - 1`` have adapters; all else is frozen.

    Raises
    ------
    ConfigError
        No linear layer of a block has a name in ``settings.modules``.
    MissingDependencyError
        peft is not installed.
    """
    peft = require("peft", extra="llm")
    known = _linear_names(stack)
    wanted = known if settings.modules == "all-linear" else list(settings.modules)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ConfigError(
            f"a block of this model has no linear layer '{unknown[0]}' (it has: {', '.join(known)})"
            f"{near_match(unknown[0], known)}",
            key="lora.modules",
        )
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=wanted,
        layers_to_transform=list(range(count)),
        layers_pattern=stack.name,
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def nudge_adapters(model: Any, size: float) -> None:
    """Move fresh adapters a little away from doing nothing, in place.

    An adapter that does nothing leaves every cosine at 1, its maximum, where its gradient is zero: the first step
    would follow rounding errors, which AdamW blows up to full size, and another split of the batch would round
    otherwise. A nudge as large as that step, drawn from the seed, makes the start the same for every split.

    Parameters
    ----------
    model
        A ``PeftModel`` with LoRA.
    size
        Standard deviation of the values drawn; the learning rate is what a step of AdamW changes a value by.
    """
    from torch import nn

    for name, parameter in model.named_parameters():
        if ".lora_B." in name and parameter.requires_grad:
            nn.init.normal_(parameter, std=size)


def scale_adapters(model: Any, factor: float) -> None:
    """Multiply what trained LoRA adapters add to the weights, in place."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name and parameter.requires_grad:
                parameter.mul_(factor)


def _linear_names(stack: Stack) -> list[str]:
    """Last parts of the names of all linear layers in the blocks."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    found = {
        name.rsplit(".", 1)[-1]: None
        for name, part in stack.blocks.named_modules()
        if isinstance(part, nn.Linear | Conv1D)
    }
    return list(found)
