"""The direction along which a model refuses, and taking it out of the model: while it runs, or out of its weights.

References
----------
Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction", NeurIPS 2024, sections 2.3 to 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from demur.errors import ConfigError, UsageError
from demur.llm._blocks import find_blocks
from demur.llm._conversation import Conversation
from demur.llm._hidden import Vectors
from demur.llm._writers import find_embeddings, find_matrices, find_post_norms, find_writing_parts, hidden_size

if TYPE_CHECKING:
    import torch

    from demur.llm._target import Target


def refusal_direction(
    target: Target, refused: Sequence[Conversation], answered: Sequence[Conversation], layer: int
) -> Vectors:
    """The unit vector ``(d,)`` from requests that are answered to requests that are refused, float32.

    Parameters
    ----------
    target
        The model whose direction it is; find it anew on a model that was changed.
    refused, answered
        Requests of the two kinds.
    layer
        From 0 to the depth.

    Raises
    ------
    UsageError
        There is no request of a kind, or both kinds look the same at that layer.
    ConfigError
        The layer is beyond the depth.
    """
    found: Vectors = refusal_directions(target, refused, answered, [layer])[0]
    return found


def refusal_directions(
    target: Target, refused: Sequence[Conversation], answered: Sequence[Conversation], layers: Sequence[int]
) -> Vectors:
    """As :func:`refusal_direction` at several layers at once: ``(layers, d)`` float32.

    The difference of the means of the residual stream at the last token of the prompt.

    Parameters
    ----------
    target, refused, answered
        As there.
    layers
        From 0 to the depth.

    Raises
    ------
    UsageError, ConfigError
        As there.
    """
    means = []
    for name, conversations in (("refused", refused), ("answered", answered)):
        if not conversations:
            raise UsageError(f"there is no {name} request; give some of both kinds")
        states = target.hidden_states([target.prompt_ids(one) for one in conversations], layers, "last")
        means.append(np.asarray(states, dtype=np.float64).mean(axis=0))
    differences = means[0] - means[1]  # (layers, d)
    lengths = np.linalg.norm(differences, axis=-1, keepdims=True)
    for layer, length, mean in zip(layers, lengths[:, 0], means[0], strict=True):
        if length <= 1e-6 * np.linalg.norm(mean):
            raise UsageError(
                f"refused and answered requests look the same at layer {layer}, so there is no direction between "
                "them; take a later layer, or requests that differ"
            )
    return np.asarray(differences / lengths, dtype=np.float32)


@dataclass(frozen=True)
class WeightAblation:
    """What :func:`ablate_weights` changed."""

    matrices: tuple[str, ...]
    """Names of the tensors, by block."""
    output: Literal["apart", "untied", "changed"]
    """What became of the output matrix: it never was the embedding's, no longer is, or was changed with it."""
    is_exact: bool
    """Whether the model now answers as under :func:`ablate_activations`. Not where it norms what it writes, as
    Gemma 2 does (the norm's weights bring some back), nor where the output matrix was changed as well."""

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self) | {"matrices": list(self.matrices)}


def ablate_weights(module: Any, direction: Vectors, tied: Literal["untie", "change"] = "untie") -> WeightAblation:
    """Take a direction out of every matrix that writes into the residual stream, in place.

    These are the embeddings, and the outputs of attention and MLP of every block with their biases; of an adapter,
    its second halves.

    Parameters
    ----------
    module
        A causal language model of transformers, or a PeftModel around one.
    direction
        ``(d,)``, or ``(k, d)`` for the space of several; of any length.
    tied
        What to do where the output matrix is the embedding: ``untie`` gives the output a copy of what it was, so
        that only the stream is ablated; ``change`` lets it be changed too, which saves the copy's memory.

    Raises
    ------
    ConfigError
        The direction is of another width, or what writes cannot be found or changed.
    """
    import torch

    basis = _basis(direction, hidden_size(module))
    matrices = find_matrices(module)
    embeddings = find_embeddings(module)
    output = _untie(module, tied)
    with torch.no_grad():
        for one in matrices:
            moved = one.tensor.data.movedim(one.axis, -1)
            moved.copy_(_project(moved, basis))
        for _, part in embeddings:
            part.weight.data.copy_(_project(part.weight.data, basis))
    normed = any(find_post_norms(block) for block in find_blocks(module))
    names = tuple(name for name, _ in embeddings) + tuple(one.name for one in matrices)
    return WeightAblation(names, output, not normed and output != "changed")


@contextmanager
def ablate_activations(target: Target, direction: Vectors) -> Iterator[Target]:
    """Take a direction out of the residual stream wherever it is written, for a block.

    Parameters
    ----------
    target
        Its weights stay as they are.
    direction
        ``(d,)``, or ``(k, d)`` for the space of several; of any length.

    Raises
    ------
    ConfigError
        The direction is of another width, or what writes cannot be found.
    """
    width = hidden_size(target.module)
    basis = _basis(direction, width)
    find_matrices(target.module)
    blocks = find_blocks(target.module)

    def before(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if given:
            return (_project(given[0], basis), *given[1:]), named
        return given, named | {"hidden_states": _project(named["hidden_states"], basis)}

    def after(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (_project(output[0], basis), *output[1:])
        return _project(output, basis)

    handles = []
    try:
        for block in blocks:
            handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
            handles += [part.register_forward_hook(after) for part in find_writing_parts(block, width)]
        handles.append(blocks[-1].register_forward_hook(after))
        yield target
    finally:
        for handle in handles:
            handle.remove()


def _basis(direction: Vectors, width: int) -> torch.Tensor:
    """Orthonormal rows ``(k, d)`` of the space that is taken out."""
    import torch

    rows = np.atleast_2d(np.asarray(direction, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ConfigError(
            f"the direction has the shape {np.shape(direction)}, but the model's residual stream is {width} wide; "
            "find the direction on this model",
            key="direction",
        )
    # Before the rank, which cannot be found of what is not finite.
    if not np.isfinite(rows).all():
        raise ConfigError("the direction holds NaN or infinity; find it anew on this model", key="direction")
    if np.linalg.matrix_rank(rows) < len(rows):
        raise ConfigError("the direction is zero, or one of several is made of the others", key="direction")
    return torch.from_numpy(np.linalg.qr(rows.T)[0].T.copy())


def _project(states: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """States ``(..., d)`` without their part in the space of ``basis``; computed in float32 at least."""
    import torch

    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    rows = basis.to(wide)
    return (wide - (wide @ rows.T) @ rows).to(states.dtype)


def _untie(module: Any, tied: Literal["untie", "change"]) -> Literal["apart", "untied", "changed"]:
    import torch

    given, head = module.get_input_embeddings(), module.get_output_embeddings()
    if head is None or head.weight is not given.weight:
        return "apart"
    if tied == "change":
        return "changed"
    head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
    # So that saving keeps both, and loading does not tie them again.
    module.config.tie_word_embeddings = False
    module.config.get_text_config().tie_word_embeddings = False
    return "untied"
