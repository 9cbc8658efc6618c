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
from demur.llm._runtime import check_readable, evaluating, full_memory_as_error

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
    check_readable(module, [len(row) for row in rows])
    found: dict[int, Vectors] = {}
    with (
        evaluating(module),
        torch.no_grad(),
        full_memory_as_error("reading hidden states", _REMEDY),
    ):
        for batch in plan_batches([len(row) for row in rows]):
            ids, mask = pad_right([rows[row] for row in batch], 0)
            seen = _Picks([len(rows[row]) for row in batch], at)
            with watch_layers(module, layers, seen.add):
                module(
                    input_ids=torch.from_numpy(ids).to(module.device),
                    attention_mask=torch.from_numpy(mask).to(module.device),
                    use_cache=False,
                )
            found |= dict(zip(batch, seen.rows(layers), strict=True))
    ordered = [found[row] for row in range(len(rows))]
    if at == "all":
        return ordered
    width = module.config.get_text_config().hidden_size
    return np.stack(ordered) if ordered else np.empty((0, len(layers), width), dtype=np.float32)


class _Picks:
    """What is wanted of each layer's states, taken as soon as they are there; the states themselves are let go."""

    def __init__(self, lengths: Sequence[int], at: Literal["last", "mean", "all"]) -> None:
        self._lengths, self._at = lengths, at
        self._found: dict[int, list[Vectors]] = {}

    def add(self, layer: int, states: torch.Tensor) -> None:
        """Take in the states ``(b, t, d)`` of a layer."""
        self._found[layer] = [
            self._pick(row[:length]).float().cpu().numpy()
            for row, length in zip(states, self._lengths, strict=True)
        ]

    def rows(self, layers: Sequence[int]) -> list[Vectors]:
        """Of each row ``(layers, d)``, or ``(t, layers, d)`` where all tokens are wanted."""
        places = range(len(self._lengths))
        return [np.stack([self._found[layer][place] for layer in layers], axis=-2) for place in places]

    def _pick(self, states: torch.Tensor) -> torch.Tensor:
        if self._at == "all":
            return states
        return states[-1] if self._at == "last" else states.float().mean(dim=0)
