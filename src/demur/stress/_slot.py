"""A place beside the request where tokens or vectors are put that no user typed, and how well they work there.

A prompt is rendered once with a mark where they go; what is before and after the mark is tokenised apart. Numbers
from the vocabulary's end on stand for vectors that are put in the place of embeddings.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from demur.errors import ConfigError
from demur.llm import Conversation, Target, check_readable
from demur.stress._requests import change_request

if TYPE_CHECKING:
    import torch

Place = Literal["before", "after"]
Ids = NDArray[np.int64]
_MARK = "\N{OBJECT REPLACEMENT CHARACTER}demur\N{OBJECT REPLACEMENT CHARACTER}"


@dataclass(frozen=True, eq=False)
class Slot:
    """A prompt's tokens around the place."""

    head: Ids
    """``(h,)``: what comes before."""
    tail: Ids
    """``(t,)``: what comes after, to where the answer begins, with its prefill."""

    def fill(self, ids: Sequence[int] | Ids) -> Ids:
        """All tokens of the prompt with these in the place."""
        return np.concatenate([self.head, np.asarray(ids, dtype=np.int64), self.tail])


def find_slot(target: Target, conversation: Conversation, place: Place) -> Slot:
    """Where something goes beside the request.

    Parameters
    ----------
    target
        Its tokenizer and template count.
    conversation
        A prompt.
    place
        Before or after the text of the user's last turn.

    Raises
    ------
    ConfigError
        The template does not write the user's text once and as it is.
    """
    marked = change_request(conversation, lambda text: f"{_MARK}{text}" if place == "before" else f"{text}{_MARK}")
    pieces = target.render(marked).split(_MARK)
    if len(pieces) != 2:
        raise ConfigError(
            f"the chat template writes the user's text {len(pieces) - 1} times, so nothing can be put beside it; "
            "give a chat_template that writes it once",
            key="chat_template",
        )
    head, tail = (
        np.asarray(target.tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int64)
        for piece in pieces
    )
    return Slot(head, tail)


def vocabulary_of(module: Any) -> int:
    """Tokens that a model has embeddings of; numbers from here on stand for vectors."""
    return int(module.get_input_embeddings().weight.shape[0])


def embed_vocabulary(module: Any) -> torch.Tensor:
    """Embeddings ``(v, d)`` of all tokens as the first block gets them, which some models scale."""
    import torch

    layer = module.get_input_embeddings()
    with torch.no_grad():
        found: torch.Tensor = layer(torch.arange(layer.weight.shape[0], device=layer.weight.device))
    return found.detach()


@contextmanager
def standing_in(module: Any, vectors: torch.Tensor) -> Iterator[None]:
    """Let the numbers after the vocabulary's end mean vectors ``(k, d)``, for a block; gradients reach them.

    Parameters
    ----------
    module
        A causal language model of transformers, or a PeftModel around one.
    vectors
        That of row ``j`` is put where a token has the number of the vocabulary's size plus ``j``.
    """
    import torch

    layer, size = module.get_input_embeddings(), vocabulary_of(module)
    seen: list[torch.Tensor] = []

    def before(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        seen.append(given[0])
        return (given[0].clamp(max=size - 1),)

    def after(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        ids = seen.pop()
        is_vector = ids >= size
        if not bool(is_vector.any()):
            return output
        wanted = vectors.to(output.dtype)[(ids - size).clamp(min=0)]  # (b, t, d)
        return torch.where(is_vector.unsqueeze(-1), wanted, output)

    handles = [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def beginning_losses(module: Any, rows: Sequence[Ids], beginning: Ids) -> torch.Tensor:
    """How unlikely the answer is to begin with these tokens: mean negative log-likelihood ``(n,)``, in nats.

    Parameters
    ----------
    module
        A causal language model.
    rows
        Tokens of ``n`` prompts.
    beginning
        Tokens ``(m,)``.

    Raises
    ------
    LongRowError
        A prompt with the beginning is longer than the model reads.
    """
    import torch

    check_readable(module, [len(row) + len(beginning) for row in rows])

    starts = torch.tensor([len(row) - 1 for row in rows])
    width = max(len(row) for row in rows) + len(beginning)
    # Right padding comes after what is scored: under causal attention no mask is needed.
    whole = [np.pad(np.concatenate([row, beginning]), (0, width - len(row) - len(beginning))) for row in rows]
    logits = _logits_after(module, torch.from_numpy(np.stack(whole)), starts, len(beginning))  # (n, m, v)
    wanted = torch.from_numpy(beginning).to(logits.device).expand(len(rows), -1)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    scores = torch.log_softmax(wide, dim=-1).gather(-1, wanted.unsqueeze(-1)).squeeze(-1)
    return -scores.mean(dim=-1)


def _logits_after(module: Any, ids: torch.Tensor, starts: torch.Tensor, count: int) -> torch.Tensor:
    """Logits ``(n, count, v)`` from a place of each row on."""
    import torch

    places = starts.unsqueeze(-1) + torch.arange(count)  # (n, count)
    wanted = torch.unique(places)
    base = module.get_base_model() if hasattr(module, "get_base_model") else module
    given: dict[str, Any] = {"input_ids": ids.to(module.device), "use_cache": False}
    if "logits_to_keep" in inspect.signature(base.forward).parameters:
        given["logits_to_keep"] = wanted.to(module.device)
        logits = module(**given).logits
    else:
        logits = module(**given).logits[:, wanted]
    found: torch.Tensor = logits[torch.arange(len(ids)).unsqueeze(-1), torch.searchsorted(wanted, places)]
    return found


def tokenise_beginning(target: Target, text: str) -> Ids:
    """Tokens of the beginning that answers are driven to.

    Raises
    ------
    ConfigError
        The text has no token.
    """
    ids = target.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if not len(ids):
        raise ConfigError("the beginning that answers are driven to has no token; give a text", key="beginning")
    return np.asarray(ids, dtype=np.int64)
