"""Held-out rows as batches, and what is measured on them while a breaker is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from demur.harden._pairs import pad_tokens
from demur.harden._validate import KlSummary, Validation, validate
from demur.llm import ChatRow, Target, token_kl

if TYPE_CHECKING:
    from demur.harden._config import HardenConfig
    from demur.harden._data import HardenRow, HardenRows
    from demur.harden._module import BreakerModule
    from demur.harden._pairs import RowTokens

_PASS_ROWS = 16
"""Rows of a forward pass at most."""


class HeldOut:
    """Measures a breaker on the rows it is not trained on.

    Parameters
    ----------
    module
        The breaker.
    target
        The model around which it is.
    rows
        Of which the held-out ones count, each kind from the beginning.
    tokens
        Turns rows into tokens.
    config
        How many rows, how often KL.
    pass_rows
        Rows that a forward pass of the training holds; no pass here holds more.
    """

    def __init__(
        self,
        module: BreakerModule,
        target: Target,
        rows: HardenRows,
        tokens: RowTokens,
        config: HardenConfig,
        pass_rows: int = _PASS_ROWS,
    ) -> None:
        self._module, self._target, self._config = module, target, config
        self._retain = rows.retain_valid
        self.kinds = tuple(sorted({row.kind for row in rows.retain_valid}))
        chosen = [*rows.retain_valid[: config.valid_rows], *rows.breakers_valid[: config.valid_rows]]
        size = min(pass_rows, _PASS_ROWS)
        self.batches = [self._pad(chosen[at : at + size], tokens) for at in range(0, len(chosen), size)]

    def measure(self, step: int) -> Validation:
        """All figures after a step; KL where it is its turn."""
        found = validate(self._module, self.batches, step, self.kinds)
        every = self._config.kl_every
        return replace(found, kl=self.measure_kl()) if every and step % every == 0 else found

    def measure_kl(self) -> KlSummary:
        """KL to the base on held-out retain rows."""
        limit = self._config.data.max_tokens
        cut: list[tuple[str, ChatRow]] = []
        for row in self._retain[: self._config.kl_rows]:
            found = self._target.encode(row.conversation)
            short = ChatRow(found.ids[:limit], found.assistant[:limit])
            if short.assistant[1:].any():
                cut.append((row.kind, short))
        adapted = self._target.with_module(self._module.model)
        kl = self._module.inside(lambda: token_kl(adapted, "adapters_off", [row for _, row in cut]))
        places = np.repeat(np.arange(len(cut)), [int(row.assistant[1:].sum()) for _, row in cut])
        kinds = np.array([kind for kind, _ in cut])[places]
        by_kind = {str(kind): float(kl.values[kinds == kind].mean()) for kind in np.unique(kinds)}
        return KlSummary(kl.mean, kl.p99, kl.first_mean, len(kl.values), by_kind)

    def _pad(self, rows: Sequence[HardenRow], tokens: RowTokens) -> dict[str, Any]:
        import torch

        batch = pad_tokens([tokens.encode(row) for row in rows], self._target.pad_id)
        # A row to break has no kind that is looked at.
        numbers = [self.kinds.index(row.kind) if row.kind in self.kinds else 0 for row in rows]
        is_breaker = [row.kind not in self.kinds for row in rows]
        return batch | {"is_breaker": torch.tensor(is_breaker), "kinds": torch.tensor(numbers)}
