"""Choosing the next token: the likeliest, or one drawn with a number that belongs to the row alone.

A row's numbers depend on the seed, the row and the place in its answer, so that neither the size nor the order of
batches has a say in what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from demur.llm._config import GenerationConfig

if TYPE_CHECKING:
    import torch


def draw_numbers(config: GenerationConfig, rows: Sequence[int]) -> NDArray[np.float64]:
    """Uniform numbers ``(n, max_new_tokens)`` in [0, 1): of each row the same whatever the other rows are.

    Parameters
    ----------
    config
        Its seed and most tokens.
    rows
        Numbers of the rows.
    """
    found = [np.random.default_rng([config.seed, row]).random(config.max_new_tokens) for row in rows]
    return np.array(found, dtype=np.float64).reshape(len(rows), config.max_new_tokens)


def pick_tokens(logits: torch.Tensor, config: GenerationConfig, numbers: torch.Tensor) -> torch.Tensor:
    """The next tokens ``(b,)`` of logits ``(b, v)``; ``numbers`` are ``(b,)`` uniform in [0, 1).

    A token is drawn by inverting the distribution function: of the tokens that are kept, ordered by their
    probability (or by their number where all are kept), it is the first at which the cumulated probability
    exceeds the row's number.
    """
    import torch

    if config.temperature == 0:
        return logits.argmax(dim=-1)
    kept, order = keep_tokens(logits, config)
    mass = kept.double().cumsum(dim=-1)  # (b, kept)
    wanted = (numbers.to(mass) * mass[:, -1]).unsqueeze(-1)
    place = torch.searchsorted(mass, wanted, right=True).clamp(max=mass.shape[-1] - 1)
    return place.squeeze(-1) if order is None else order.gather(-1, place).squeeze(-1)


def keep_tokens(logits: torch.Tensor, config: GenerationConfig) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Probabilities of the tokens that may be drawn, and their numbers; others have none, or are not listed.

    Parameters
    ----------
    logits
        ``(b, v)``.
    config
        Temperature first, then ``top_k``, then ``top_p`` of what is left (Holtzman et al. 2020, section 3.1): the
        fewest tokens whose probabilities together reach ``top_p``.
    """
    import torch

    probabilities = torch.softmax(logits.float() / config.temperature, dim=-1)
    if config.top_k == 0 and config.top_p == 1:
        return probabilities, None
    if config.top_k:
        values, order = torch.topk(probabilities, min(config.top_k, logits.shape[-1]), dim=-1)
    else:
        values, order = probabilities.sort(dim=-1, descending=True, stable=True)
    if config.top_p < 1:
        before = values.cumsum(dim=-1) - values
        values = values.masked_fill(before >= config.top_p * values.sum(dim=-1, keepdim=True), 0.0)
    return values, order
