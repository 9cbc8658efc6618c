"""Giving a model its weights back, bit for bit, whatever was done to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def restoring(module: Any) -> Iterator[None]:
    """Let a block change a model's weights in place, untie them or put others there; all of it is undone.

    The copy lies in the processor's memory, not the accelerator's. What else a block does to a model (hooks, other
    modules in the place of its own) it undoes itself.

    Parameters
    ----------
    module
        A causal language model of transformers, or a PeftModel around one.
    """
    places = [
        (part, name, tensor)
        for part in module.modules()
        for name, tensor in [*part._parameters.items(), *part._buffers.items()]
        if tensor is not None
    ]
    copies = {id(tensor): tensor.detach().to("cpu", copy=True) for _, _, tensor in places}
    flags = [(one, one.tie_word_embeddings) for one in _configs(module) if hasattr(one, "tie_word_embeddings")]
    try:
        yield
    finally:
        for part, name, tensor in places:
            (part._parameters if name in part._parameters else part._buffers)[name] = tensor
            tensor.data.copy_(copies[id(tensor)])
        for one, is_tied in flags:
            one.tie_word_embeddings = is_tied


def _configs(module: Any) -> list[Any]:
    whole, text = module.config, module.config.get_text_config()
    return [whole] if whole is text else [whole, text]
