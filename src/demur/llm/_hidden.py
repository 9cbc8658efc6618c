"""Vectors of the residual stream, read by hooks; the model is not run further than the last layer asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from demur.llm._batches import pad_right, plan_batches
from demur.llm._blocks import check_layers, find_blocks
from demur.llm._conversation import TokenIds
from demur.llm._runtime import evaluating, full_memory_as_error

if TYPE_CHECKING:
    import torch

Vectors = NDArray[np.float32]
_REMEDY = "give fewer or shorter rows at a time, fewer layers, or take a smaller model"


class _Enough(Exception):  # noqa: N818
    """The last layer asked for was read."""


@contextmanager
def watch_layers(module: Any, layers: Sequence[int], see: Callable[[int, torch.Tensor], None]) -> Iterator[None]:
    """Call ``see`` with a layer's number and its states ``(b, t, d)`` when the model runs in the block.

    The run ends after the last of the layers, and so does the block.

    Parameters
    ----------
    module
        A causal language model.
    layers
        From 0 to the depth.
    see
        Called once a layer.
    """
    blocks = find_blocks(module)
    handles = [_hook(blocks, layer, see, layer == max(layers)) for layer in set(layers)]
    try:
        with suppress(_Enough):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(blocks: Any, layer: int, see: Callable[[int, torch.Tensor], None], is_last: bool) -> Any:
    def stop() -> None:
        if is_last:
            raise _Enough

    if layer < len(blocks):
        # The input of a block is the output of the one before, and of the embedding for the first.
        def before(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            see(layer, given[0] if given else named["hidden_states"])
            stop()

        return blocks[layer].register_forward_pre_hook(before, with_kwargs=True)

    def after(_: Any, __: Any, output: Any) -> None:
        see(layer, output[0] if isinstance(output, tuple) else output)
        stop()

    return blocks[-1].register_forward_hook(after)


def read_hidden(
    module: Any, rows: Sequence[TokenIds], layers: Sequence[int], at: Literal["last", "mean", "all"] = "last"
) -> Vectors | list[Vectors]:
    """See :meth:`demur.llm.Target.hidden_states`."""
    import torch

    layers = list(layers)
    check_layers(layers, len(find_blocks(module)))
    found: dict[int, Vectors] = {}
    seen: dict[int, torch.Tensor] = {}
    with (
        evaluating(module),
        torch.no_grad(),
        full_memory_as_error("reading hidden states", _REMEDY),
    ):
        for batch in plan_batches([len(row) for row in rows]):
            ids, mask = pad_right([rows[row] for row in batch], 0)
            with watch_layers(module, layers, seen.__setitem__):
                module(
                    input_ids=torch.from_numpy(ids).to(module.device),
                    attention_mask=torch.from_numpy(mask).to(module.device),
                    use_cache=False,
                )
            states = torch.stack([seen[layer] for layer in layers], dim=2).float().cpu().numpy()  # (b, t, l, d)
            found |= {row: _pick(states[place, : len(rows[row])], at) for place, row in enumerate(batch)}
    ordered = [found[row] for row in range(len(rows))]
    if at == "all":
        return ordered
    width = module.config.get_text_config().hidden_size
    return np.stack(ordered) if ordered else np.empty((0, len(layers), width), dtype=np.float32)


def _pick(states: Vectors, at: Literal["last", "mean", "all"]) -> Vectors:
    if at == "all":
        return states.copy()
    picked: Vectors = states[-1] if at == "last" else states.mean(axis=0)
    return picked.copy()
