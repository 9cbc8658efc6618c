"""Where things are in a causal language model: its blocks, and what writes into its residual stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from demur.errors import ConfigError


def find_blocks(module: Any) -> Any:
    """The list of a model's blocks, whatever is around it.

    Parameters
    ----------
    module
        A causal language model of transformers, or a PeftModel around one.

    Raises
    ------
    ConfigError
        It has no list of as many parts as its configuration has layers.
    """
    from torch import nn

    depth = module.config.get_text_config().num_hidden_layers
    for part in module.modules():
        if isinstance(part, nn.ModuleList) and len(part) == depth:
            return part
    raise ConfigError(
        f"no list of {depth} blocks is found in the {module.config.model_type} model, as its configuration says; "
        "take a decoder of transformers",
        key="model",
    )


def resolve_layers(layers: Sequence[int | float], depth: int) -> tuple[int, ...]:
    """Layer numbers, ascending and each once; fractions are of the depth, so they mean the same in any model.

    Parameters
    ----------
    layers
        Whole numbers from 0 (the embedding) to ``depth``, or fractions between 0 and 1 (0.5 of 30 is 15, and 1.0
        is the last).
    depth
        Number of blocks.

    Raises
    ------
    ConfigError
        None is given, or one is beyond the depth.
    """
    found: set[int] = set()
    for layer in layers:
        if isinstance(layer, float) and 0 <= layer <= 1:
            # A fraction above 0 never means the embedding, which no block has changed.
            found.add(min(depth, max(1, int(layer * depth + 0.5))) if layer > 0 else 0)
        elif layer == int(layer) and 0 <= layer <= depth:
            found.add(int(layer))
        else:
            raise _beyond(layer, depth)
    check_layers(sorted(found), depth)
    return tuple(sorted(found))


def check_layers(layers: Sequence[int], depth: int) -> None:
    """Refuse layers that a model of that many blocks lacks.

    Raises
    ------
    ConfigError
        None is given, or one is beyond the depth.
    """
    if not layers:
        raise ConfigError("no layer is given; name at least one", key="layers")
    for layer in layers:
        if not 0 <= layer <= depth:
            raise _beyond(layer, depth)


def _beyond(layer: int | float, depth: int) -> ConfigError:
    return ConfigError(
        f"layer {layer} is asked for, but the model has {depth} blocks; give whole numbers from 0 to {depth}, or "
        "fractions of the depth from 0.0 to 1.0",
        key="layers",
    )
