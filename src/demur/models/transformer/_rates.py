"""Learning rates that differ from block to block: a small data set should bend the lowest ones least."""

from __future__ import annotations

from typing import Any

from torch import nn


def layer_rates(module: nn.Module, encoder: Any, decay: float, head: float = 1.0) -> dict[str, float]:
    """Factor on the learning rate of every parameter of a module, by its name.

    The head has ``head``, the highest of ``L`` blocks ``decay``, the lowest ``decay^L``, the embeddings
    ``decay^(L+1)``. An architecture that shares one block's weights between all layers counts as one block.

    Parameters
    ----------
    module
        The encoder with its head.
    encoder
        The transformers model in it, with or without a head of its own.
    decay
        In 0..1.
    head
        Above 0; a new head has further to go than the weights below it.

    References
    ----------
    Howard and Ruder, "Universal Language Model Fine-tuning", ACL 2018, section 3.2 (discriminative fine-tuning).
    """
    base = encoder.base_model
    blocks = find_blocks(base)
    depths = {id(one): 0 for one in base.parameters()}
    height = 1 if blocks is None else len(blocks)
    if blocks is None:
        depths |= {id(one): 1 for one in base.parameters()}
    depths |= {id(one): height + 1 for name, one in base.named_parameters() if "embed" in name}
    for number, block in enumerate(blocks or []):
        depths |= {id(one): height - number for one in block.parameters()}
    return {
        name: decay ** depths[id(one)] if id(one) in depths else head for name, one in module.named_parameters()
    }


def find_blocks(encoder: Any) -> nn.ModuleList | None:
    """The list of a model's blocks, lowest first; None where all layers share one."""
    depth = encoder.config.num_hidden_layers
    lists = [part for part in encoder.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    return lists[0] if lists else None
