"""A breaker's step as it was first published, in plain words: what demur's step is compared with.

Four forward passes (retain and breaker rows, each with adapters off and on), every row padded to the full length,
one block more than the highest target layer, the head computed and thrown away, all hidden states stacked. Written
for this comparison from the description of the method; nothing of demur is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

Batch = dict[str, torch.Tensor]


def cut_model(model: Any, blocks: int) -> Any:
    """Keep the lowest blocks alone, head and final norm included."""
    model.model.layers = model.model.layers[:blocks]
    model.config.num_hidden_layers = blocks
    return model


def pad_retain(rows: Sequence[torch.Tensor], pad_id: int, width: int) -> Batch:
    """Rows padded on the right to the full width."""
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def pad_breaker(rows: Sequence[tuple[torch.Tensor, torch.Tensor]], pad_id: int, width: int) -> Batch:
    """Requests padded on the left to half the width, responses on the right to the other half."""
    half = width // 2
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros_like(ids)
    for number, (request, response) in enumerate(rows):
        ids[number, half - len(request) : half] = request
        mask[number, half - len(request) : half] = 1
        ids[number, half : half + len(response)] = response
        mask[number, half : half + len(response)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def step_losses(model: Any, retain: Batch, breaker: Batch, targets: Sequence[int]) -> tuple[Any, Any]:
    """Breaker loss and retain loss of one step."""
    kept, broken = (one["attention_mask"].unsqueeze(-1) for one in (retain, breaker))
    with model.disable_adapter(), torch.no_grad():
        old_retain = torch.stack(model(**retain, output_hidden_states=True).hidden_states).detach() * kept
        states = model(**breaker, output_hidden_states=True).hidden_states
        old_breaker = torch.stack([states[layer] for layer in targets]).detach()
    new_retain = torch.stack(model(**retain, output_hidden_states=True).hidden_states) * kept
    retain_loss = torch.linalg.vector_norm(new_retain - old_retain, dim=-1).nanmean()
    states = model(**breaker, output_hidden_states=True).hidden_states
    new_breaker = torch.stack([states[layer] for layer in targets])
    products = functional.normalize(new_breaker, dim=-1) * functional.normalize(old_breaker, dim=-1) * broken
    breaker_loss = products.sum(dim=-1).relu().sum() / (broken.sum() * len(targets))
    return breaker_loss, retain_loss
