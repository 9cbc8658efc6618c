"""What a model would begin its answer with, and how much of that is the beginning of a refusal."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.llm import Conversation, Target, evaluating, full_memory_as_error

Floats = NDArray[np.float64]


def first_log_probabilities(target: Target, prompts: Sequence[Conversation], batch_size: int) -> Floats:
    """Log-probabilities ``(n, v)`` of the first token of the answers.

    Parameters
    ----------
    target
        The model.
    prompts
        ``n`` requests.
    batch_size
        Prompts a forward pass.

    Raises
    ------
    NoMemoryError
        A batch does not fit the memory.
    """
    import torch

    rows = [target.prompt_ids(one) for one in prompts]
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    found: dict[int, Floats] = {}
    with (
        evaluating(target.module),
        torch.no_grad(),
        full_memory_as_error("reading first tokens", "lower batch_size of the attack"),
    ):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            width = len(rows[batch[0]])
            # Right padding comes after what is read: under causal attention no mask is needed.
            ids = np.array([np.pad(rows[row], (0, width - len(rows[row]))) for row in batch], dtype=np.int64)
            ends = torch.tensor([len(rows[row]) - 1 for row in batch])
            logits = _logits_at(target.module, torch.from_numpy(ids), ends)
            values = torch.log_softmax(logits.double(), dim=-1).cpu().numpy()
            found |= dict(zip(batch, values, strict=True))
    return np.stack([found[row] for row in range(len(rows))])


def _logits_at(module: Any, ids: Any, ends: Any) -> Any:
    """Logits ``(b, v)`` at one place of each row."""
    import torch

    base = module.get_base_model() if hasattr(module, "get_base_model") else module
    given: dict[str, Any] = {"input_ids": ids.to(module.device), "use_cache": False}
    places = torch.unique(ends)
    if "logits_to_keep" in inspect.signature(base.forward).parameters:
        given["logits_to_keep"] = places.to(module.device)
        logits = module(**given).logits
    else:
        logits = module(**given).logits[:, places]
    return logits[torch.arange(len(ends)), torch.searchsorted(places, ends)]


def find_refusing_tokens(refused: Floats, answered: Floats, most: int = 8) -> NDArray[np.int64]:
    """Tokens with which the model begins refusals rather than answers, the most telling first.

    Those whose mean probability is larger after the first kind of prompt, by a hundredth of the largest difference
    at least. So no list of phrases is needed, and a model may refuse in any language.

    Parameters
    ----------
    refused, answered
        Log-probabilities ``(n, v)`` after prompts of the two kinds.
    most
        At most that many.
    """
    more = np.exp(refused).mean(axis=0) - np.exp(answered).mean(axis=0)
    order = np.argsort(-more, kind="stable")[:most]
    found: NDArray[np.int64] = order[more[order] > 0.01 * more.max()]
    return found


def refusal_log_odds(first: Floats, tokens: NDArray[np.int64]) -> float:
    """Mean over the prompts of the log-odds that an answer begins with one of the tokens.

    Parameters
    ----------
    first
        Log-probabilities ``(n, v)``.
    tokens
        Numbers of the tokens.
    """
    share = np.clip(np.exp(first[:, tokens]).sum(axis=1), 1e-12, 1 - 1e-12)
    return float(np.mean(np.log(share) - np.log1p(-share)))


def mean_kl(reference: Floats, changed: Floats) -> float:
    """Mean over the prompts of KL(reference || changed) in nats, of log-probabilities ``(n, v)``."""
    return float((np.exp(reference) * (reference - changed)).sum(axis=1).mean())
