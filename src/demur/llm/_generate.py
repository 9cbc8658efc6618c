"""Batched generation: rows of like length together, padded on the left, with a key-value cache.

Rows that have ended leave the batch, and a batch that does not fit the memory is halved: neither changes what
is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from demur.errors import ConfigError, LongRowError, NoMemoryError, UsageError
from demur.llm._batches import pad_left
from demur.llm._config import GenerationConfig
from demur.llm._conversation import TokenIds
from demur.llm._runtime import evaluating, full_memory_as_error, readable_tokens
from demur.llm._sampling import draw_numbers, pick_tokens

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int], None]
"""Called with the number of rows done and of all."""
_COMPACT_AT = 0.75
"""A batch is made smaller where at most this share of its rows still write."""
_REMEDY = "lower generation.batch_size or max_new_tokens, or take a smaller model"


@dataclass(frozen=True)
class Ending:
    """How turns end and rows are padded."""

    stops: tuple[int, ...]
    pad: int


def generate_ids(
    module: Any,
    prompts: Sequence[TokenIds],
    config: GenerationConfig,
    ending: Ending,
    numbers: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[tuple[list[int], bool]]:
    """New tokens of each prompt, without the one that ends the turn, and whether the turn was ended.

    Parameters
    ----------
    module
        A causal language model of transformers.
    prompts
        Tokens of each, ``(t,)``.
    config
        How tokens are chosen.
    ending
        Tokens that end a turn.
    numbers
        What a row's drawn tokens depend on beside the seed; by default its place.
    progress
        Called with the number of rows done and of all.

    Raises
    ------
    LongRowError
        A prompt is too long for the model.
    NoMemoryError
        Not even one row fits the memory.
    UsageError
        There are not as many numbers as prompts.
    """
    numbers = range(len(prompts)) if numbers is None else numbers
    if len(numbers) != len(prompts):
        raise UsageError(f"{len(numbers)} row numbers are given for {len(prompts)} prompts; give one each")
    _check_lengths(module, prompts, config)
    # The longest first: a batch that does not fit is met at once.
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    found: dict[int, tuple[list[int], bool]] = {}
    size = config.batch_size
    with evaluating(module):
        while order:
            batch, rest = order[:size], order[size:]
            try:
                with full_memory_as_error(f"writing {len(batch)} answers at a time", _REMEDY):
                    drawn = draw_numbers(config, [int(numbers[row]) for row in batch])
                    written = _write(module, [prompts[row] for row in batch], drawn, config, ending)
            except NoMemoryError:
                if len(batch) == 1:
                    raise
                size = len(batch) // 2
                continue
            found |= dict(zip(batch, written, strict=True))
            order = rest
            if progress is not None:
                progress(len(found), len(prompts))
    return [found[row] for row in range(len(prompts))]


def _check_lengths(module: Any, prompts: Sequence[TokenIds], config: GenerationConfig) -> None:
    most = readable_tokens(module)
    if not prompts or not most:
        return
    longest = max(range(len(prompts)), key=lambda row: len(prompts[row]))
    needed = len(prompts[longest]) + config.max_new_tokens
    if needed > most:
        raise LongRowError(
            f"row {longest} needs {needed} tokens ({len(prompts[longest])} of its prompt), but the model reads "
            f"{most}; shorten it or lower max_new_tokens",
            key="max_new_tokens",
        )


class _Batch:
    """Rows that are being written: their cache, and the tokens they were last given."""

    def __init__(self, module: Any, rows: Sequence[TokenIds], pad: int) -> None:
        import torch

        self.module, device = module, module.device
        ids, mask = pad_left(rows, pad)
        self.ids, self.mask = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
        self.positions = (self.mask.cumsum(dim=-1) - 1).clamp(min=0)
        self.cache: Any = None
        base = module.get_base_model() if hasattr(module, "get_base_model") else module
        self.accepted = inspect.signature(base.forward).parameters
        # transformers 5.24 renamed it.
        self.cache_name = "cache" if "cache" in self.accepted else "past_key_values"

    def step(self) -> torch.Tensor:
        """Logits ``(b, v)`` of the next token."""
        given: dict[str, Any] = {"input_ids": self.ids, "attention_mask": self.mask, "use_cache": True}
        if "position_ids" in self.accepted:
            given["position_ids"] = self.positions
        if "logits_to_keep" in self.accepted:
            given["logits_to_keep"] = 1
        if self.cache is not None:
            given[self.cache_name] = self.cache
        output = self.module(**given)
        self.cache = getattr(output, self.cache_name, None)
        if self.cache is None:
            raise ConfigError(
                "this model keeps no key-value cache, without which demur does not generate; take a transformer",
                key="model",
            )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def append(self, tokens: torch.Tensor) -> None:
        """Give every row its next token."""
        import torch

        self.ids = tokens.unsqueeze(-1)
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=-1)
        self.positions = self.positions[:, -1:] + 1

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone."""
        self.ids, self.mask, self.positions = self.ids[rows], self.mask[rows], self.positions[rows]
        self.cache.batch_select_indices(rows)


def _write(
    module: Any, rows: Sequence[TokenIds], drawn: np.ndarray[Any, Any], config: GenerationConfig, ending: Ending
) -> list[tuple[list[int], bool]]:
    import torch

    written: list[list[int]] = [[] for _ in rows]
    ended = [False] * len(rows)
    # Not inference_mode: what a model keeps for itself in it could not be trained with later.
    with torch.no_grad():
        batch = _Batch(module, rows, ending.pad)
        here = list(range(len(rows)))
        for place in range(config.max_new_tokens):
            numbers = torch.from_numpy(drawn[here, place]).to(batch.mask.device)
            tokens = pick_tokens(batch.step(), config, numbers)
            for row, token in zip(here, tokens.tolist(), strict=True):
                if not ended[row]:
                    ended[row] = token in ending.stops
                    written[row] += [] if ended[row] else [token]
            alive = [at for at, row in enumerate(here) if not ended[row]]
            if not alive or place + 1 == config.max_new_tokens:
                break
            batch.append(tokens)
            if len(alive) <= _COMPACT_AT * len(here):
                batch.keep(torch.tensor(alive, device=batch.mask.device))
                here = [here[at] for at in alive]
    return list(zip(written, ended, strict=True))
