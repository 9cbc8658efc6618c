"""What writes into the residual stream of a causal language model: embeddings, attention outputs, MLP outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demur.errors import ConfigError
from demur.llm._blocks import find_blocks

_OUTPUTS = {
    *("o_proj", "out_proj", "c_proj", "dense", "wo", "attn_out"),
    *("down_proj", "fc2", "dense_4h_to_h", "w2", "fc_out"),
}
"""What transformers calls the last matrix of an attention or an MLP."""
_POST_NORMS = (
    "post_attention_layernorm",
    "post_feedforward_layernorm",
    "post_self_attn_layernorm",
    "post_mlp_layernorm",
)
"""Norms between what is written and the stream; the first of these names is elsewhere that of a norm before."""


@dataclass(frozen=True)
class Matrix:
    """A tensor whose ``axis`` is the residual stream's."""

    name: str
    tensor: Any
    axis: int


def hidden_size(module: Any) -> int:
    """Width of the residual stream."""
    return int(module.config.get_text_config().hidden_size)


def find_embeddings(module: Any) -> list[tuple[str, Any]]:
    """Embeddings outside the blocks that are as wide as the residual stream: of tokens, and of positions."""
    from torch import nn

    inside = {id(part) for part in find_blocks(module).modules()}
    width = hidden_size(module)
    return [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, nn.Embedding) and id(part) not in inside and part.embedding_dim == width
    ]


def find_matrices(module: Any) -> list[Matrix]:
    """Every tensor of the blocks that writes into the residual stream, with biases and low-rank changes.

    Raises
    ------
    ConfigError
        A block has fewer than two such matrices under the names that are known, or one that cannot be ablated.
    """
    found: list[Matrix] = []
    for number, block in enumerate(find_blocks(module)):
        own = [one for name, part in block.named_modules() for one in _of_part(name, part, hidden_size(module))]
        if sum(one.tensor.ndim > 1 for one in own) < 2:
            seen = ", ".join(sorted({one.name for one in own})) or "none"
            raise ConfigError(
                f"block {number} of the {module.config.model_type} model has no two matrices known to write into "
                f"the residual stream (found: {seen}); take a model with an attention and an MLP output named "
                "as in Llama",
                key="model",
            )
        found += [Matrix(f"{number}.{one.name}", one.tensor, one.axis) for one in own]
    return found


def _of_part(name: str, part: Any, width: int) -> Iterator[Matrix]:
    if name.rpartition(".")[2] in _OUTPUTS:
        yield from _of_layer(name, part, width)
    # Experts hold theirs in one tensor: (experts, d, inner) or (experts, inner, d).
    for own, tensor in part.named_parameters(recurse=False):
        if own in _OUTPUTS and tensor.ndim == 3:
            axes = [axis for axis in (1, 2) if tensor.shape[axis] == width]
            if len(axes) != 1:
                raise ConfigError(
                    f"which side of '{name}.{own}' writes into the residual stream cannot be told from its shape "
                    f"{tuple(tensor.shape)}; take another model",
                    key="model",
                )
            yield Matrix(f"{name}.{own}", tensor, axes[0])
        elif own.removesuffix("_bias") in _OUTPUTS and tensor.ndim == 2:
            yield Matrix(f"{name}.{own}", tensor, 1)


def _of_layer(name: str, layer: Any, width: int) -> Iterator[Matrix]:
    """The matrix of a layer, its bias, and the writing halves of its low-rank changes."""
    base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    weight = getattr(base, "weight", None)
    if weight is None or weight.ndim != 2:
        return
    if not weight.is_floating_point():
        raise ConfigError(
            f"'{name}' is quantised and cannot be ablated; load the model in bf16 or fp32", key="model"
        )
    # GPT-2 keeps its matrices the other way round.
    axis = 1 if type(base).__name__ == "Conv1D" else 0
    if weight.shape[axis] != width:
        return
    yield Matrix(name, weight, axis)
    if getattr(base, "bias", None) is not None:
        yield Matrix(f"{name}.bias", base.bias, 0)
    if len(getattr(layer, "lora_magnitude_vector", ())):
        raise ConfigError(f"the DoRA adapter on '{name}' cannot be ablated; merge it first", key="adapter")
    for adapter, change in getattr(layer, "lora_B", {}).items():
        yield Matrix(f"{name}.lora_B.{adapter}", change.weight, 0)
        if change.bias is not None:
            yield Matrix(f"{name}.lora_B.{adapter}.bias", change.bias, 0)


def find_post_norms(block: Any) -> list[Any]:
    """Norms of a block between what is written and the residual stream, such as Gemma 2 has them."""
    if not any(hasattr(block, name) for name in _POST_NORMS[1:]):
        return []
    return [getattr(block, name) for name in _POST_NORMS if hasattr(block, name)]


def find_writing_parts(block: Any, width: int) -> list[Any]:
    """The parts of a block whose outputs are added to the residual stream: attention, MLP, norms after them."""
    parts = [
        child
        for _, child in block.named_children()
        if any(True for name, part in child.named_modules(prefix="x") for _ in _of_part(name, part, width))
    ]
    return parts + find_post_norms(block)
