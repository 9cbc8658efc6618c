"""How likely a model finds texts (perplexity), and how far its next tokens are from another's (KL divergence)."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from demur.errors import ConfigError, UsageError
from demur.llm._batches import pad_right, plan_batches
from demur.llm._conversation import ChatRow, Conversation
from demur.llm._runtime import check_readable, evaluating, full_memory_as_error, readable_tokens

if TYPE_CHECKING:
    import torch

    from demur.llm._target import Target

Floats = NDArray[np.float64]
_LOGITS = 2**26
"""Logits of a forward pass; in float32 they take 256 MiB."""
_REMEDY = "give shorter rows, or take a smaller model"


@dataclass(frozen=True, eq=False)
class Perplexity:
    """How a model finds ``n`` texts."""

    nll: Floats
    """``(n,)``: mean negative log-likelihood of a row's tokens, in nats."""
    tokens: NDArray[np.int64]
    """``(n,)``: tokens that were scored."""

    @property
    def value(self) -> float:
        """Exp of the mean over all tokens of all rows; NaN where there is none."""
        total = self.tokens.sum()
        return float(np.exp((self.nll * self.tokens).sum() / total)) if total else float("nan")

    def to_json(self) -> dict[str, Any]:
        """The figures as a JSON object."""
        value = self.value if len(self.tokens) else None
        return {"value": value, "nll": self.nll.tolist(), "tokens": self.tokens.tolist()}


@dataclass(frozen=True, eq=False)
class TokenKl:
    """How far a model's next tokens are from a reference's on ``n`` rows: KL(reference || target), in nats."""

    rows: Floats
    """``(n,)``: mean over a row's tokens."""
    first: Floats
    """``(n,)``: at the first token of the assistant."""
    values: Floats
    """``(tokens,)``: at every token, row after row."""

    @property
    def mean(self) -> float:
        """Mean over all tokens."""
        return float(self.values.mean()) if len(self.values) else float("nan")

    @property
    def p99(self) -> float:
        """99th percentile over all tokens."""
        return float(np.quantile(self.values, 0.99)) if len(self.values) else float("nan")

    @property
    def first_mean(self) -> float:
        """Mean over the rows of the first token's."""
        return float(self.first.mean()) if len(self.first) else float("nan")

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON object; null where there is no row."""
        names = ("mean", "p99", "first_mean")
        found = {name: getattr(self, name) if len(self.values) else None for name in names}
        return {**found, "n_rows": len(self.rows), "n_tokens": len(self.values)}


def perplexity(
    target: Target, conversations: Sequence[Conversation], only_assistant: bool = True, *, cut: bool = False
) -> Perplexity:
    """Score texts by a model.

    Parameters
    ----------
    target
        The model.
    conversations
        With the assistant's turns to score.
    only_assistant
        Score what the assistant says, with the tokens that end its turns; else every token but the first.
    cut
        Leave out what is beyond the tokens that the model reads.

    Raises
    ------
    ConfigError
        The chat template does not tell which tokens are the assistant's.
    LongRowError
        A row is longer than the model reads.
    NoMemoryError
        A row does not fit the memory.
    UsageError
        The assistant says nothing in a conversation.
    """
    rows = [target.encode(one) for one in conversations]
    if cut and (most := readable_tokens(target.module)):
        rows = [ChatRow(row.ids[:most], row.assistant[:most]) for row in rows]
    if not only_assistant:
        rows = [ChatRow(row.ids, np.ones(len(row), dtype=bool)) for row in rows]
    places = [_scored(row, number) for number, row in enumerate(rows)]

    def score(batch: list[int], ids: torch.Tensor) -> list[Floats]:
        found = _log_probabilities(target.module, ids, [places[row] for row in batch])
        wanted = [ids[at, places[row]].to(found[at].device) for at, row in enumerate(batch)]
        return [
            -one.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).double().cpu().numpy()
            for one, tokens in zip(found, wanted, strict=True)
        ]

    values = _run(target, rows, score)
    return Perplexity(
        np.array([one.mean() for one in values], dtype=np.float64),
        np.array([len(one) for one in values], dtype=np.int64),
    )


def token_kl(target: Target, reference: Target | Literal["adapters_off"], rows: Sequence[ChatRow]) -> TokenKl:
    """Compare the next-token distributions of two models where the assistant speaks.

    Parameters
    ----------
    target
        The model that was changed.
    reference
        The model it is compared with, of the same vocabulary; ``adapters_off`` is the target without its adapter.
    rows
        As :meth:`Target.encode` gives them.

    Raises
    ------
    ConfigError
        The two do not share a vocabulary.
    LongRowError
        A row is longer than one of them reads.
    NoMemoryError
        A row does not fit the memory.
    UsageError
        The target has no adapter to turn off, or the assistant says nothing in a row.
    """
    places = [_scored(row, number) for number, row in enumerate(rows)]
    other = target if isinstance(reference, str) else reference

    def without() -> AbstractContextManager[Any]:
        return target.without_adapter() if isinstance(reference, str) else nullcontext()

    def compare(batch: list[int], ids: torch.Tensor) -> list[Floats]:
        wanted = [places[row] for row in batch]
        ours = _log_probabilities(target.module, ids, wanted)
        with without(), evaluating(other.module):
            theirs = _log_probabilities(other.module, ids, wanted)
        known = [one[0].shape[-1] for one in (ours, theirs)]
        if known[0] != known[1]:
            raise ConfigError(
                f"the target knows {known[0]} tokens, the reference {known[1]}; compare models of one vocabulary",
                key="reference",
            )
        return [_kl(p.to(q.device), q) for p, q in zip(theirs, ours, strict=True)]

    with without():
        check_readable(other.module, [len(row) for row in rows])
    values = _run(target, rows, compare)
    return TokenKl(
        np.array([one.mean() for one in values], dtype=np.float64),
        np.array([one[0] for one in values], dtype=np.float64),
        np.concatenate([np.empty(0), *values]),
    )


def _kl(reference: torch.Tensor, target: torch.Tensor) -> Floats:
    """KL(reference || target) of log-probabilities ``(m, v)``, ``(m,)``; rounding below 0 is cut off."""
    found = (reference.exp() * (reference - target)).sum(dim=-1, dtype=reference.dtype).clamp(min=0)
    values: Floats = found.double().cpu().numpy()
    return values


def _scored(row: ChatRow, number: int) -> NDArray[np.int64]:
    """Places of the tokens that are scored; the first of a row has nothing before it."""
    places = np.flatnonzero(row.assistant)
    places = places[places > 0]
    if not len(places):
        raise UsageError(f"the assistant says nothing in row {number}; give conversations with its answers")
    return places


def _run(target: Target, rows: Sequence[ChatRow], score: Any) -> list[Floats]:
    """What ``score`` gives for each row, in order; it is called with row numbers and padded tokens ``(b, t)``."""
    import torch

    check_readable(target.module, [len(row) for row in rows])
    vocabulary = target.module.config.get_text_config().vocab_size
    found: dict[int, Floats] = {}
    with evaluating(target.module), torch.no_grad(), full_memory_as_error("scoring texts", _REMEDY):
        for batch in plan_batches([len(row) for row in rows], max(1, _LOGITS // vocabulary)):
            # Right padding is after what is scored: under causal attention no mask is needed.
            ids, _ = pad_right([rows[row].ids for row in batch], target.pad_id)
            found |= dict(zip(batch, score(batch, torch.from_numpy(ids)), strict=True))
    return [found[row] for row in range(len(rows))]


def _log_probabilities(module: Any, ids: torch.Tensor, places: Sequence[NDArray[np.int64]]) -> list[torch.Tensor]:
    """Of each row the log-probabilities ``(m, v)`` that the model gave before its ``m`` places, in float32."""
    import torch

    base = module.get_base_model() if hasattr(module, "get_base_model") else module
    before = np.unique(np.concatenate([one - 1 for one in places]))
    given: dict[str, Any] = {"input_ids": ids.to(module.device), "use_cache": False}
    if "logits_to_keep" in inspect.signature(base.forward).parameters:
        # The output matrix is a fifth of a small model's work, and most places are prompts.
        given["logits_to_keep"] = torch.from_numpy(before).to(module.device)
        logits = module(**given).logits
    else:
        logits = module(**given).logits[:, before]
    found = [logits[row, np.searchsorted(before, one - 1)] for row, one in enumerate(places)]
    return [torch.log_softmax(one.float(), dim=-1) for one in found]
