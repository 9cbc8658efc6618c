"""The search for vectors under which answers begin as wanted, by the signs of gradients, from several starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.llm import Target, evaluating, full_memory_as_error
from demur.stress._meter import Meter
from demur.stress._slot import Ids, Slot, beginning_losses, embed_vocabulary, standing_in, vocabulary_of
from demur.stress._states import Arrays
from demur.stress.soft_prompt._config import SoftPromptConfig

Vectors = NDArray[np.float32]


@dataclass
class SoftState:
    """Where the searches are."""

    vectors: Vectors
    """``(restarts, tokens, d)``."""
    best: Vectors
    """Those of the lowest loss so far, of each start."""
    best_loss: NDArray[np.float64]
    """``(restarts,)``."""
    curve: list[list[float]] = field(default_factory=list)
    """Loss of each start after each step, from step 0 on."""

    @property
    def step(self) -> int:
        """Steps that were made."""
        return max(0, len(self.curve) - 1)

    def to_arrays(self) -> Arrays:
        """For a file."""
        return {
            "vectors": self.vectors,
            "best": self.best,
            "best_loss": self.best_loss,
            "curve": np.array(self.curve, dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> SoftState:
        """From a file."""
        return cls(arrays["vectors"], arrays["best"], arrays["best_loss"], arrays["curve"].tolist())


class SoftSearch:
    """Vectors that stand beside each of several prompts.

    Parameters
    ----------
    target
        The model.
    slots
        Prompts, and where the vectors go.
    beginning
        Tokens answers are to begin with.
    config
        Lengths and sizes.
    meter
        What it costs is added here.
    """

    def __init__(
        self, target: Target, slots: Sequence[Slot], beginning: Ids, config: SoftPromptConfig, meter: Meter
    ) -> None:
        self.target, self.slots, self.beginning = target, slots, beginning
        self.config, self.meter = config, meter
        table = embed_vocabulary(target.module).float()
        self.deviation = float(table.std())
        self._table = table.cpu().numpy()
        first = vocabulary_of(target.module)
        self.numbers = np.arange(first, first + config.tokens, dtype=np.int64)
        self._gradients: Vectors | None = None

    def begin(self, seed: int) -> SoftState:
        """The state before the first step.

        Parameters
        ----------
        seed
            Of the starts after the first.
        """
        ids = self.target.tokenizer(self.config.start, add_special_tokens=False, verbose=False)["input_ids"]
        words = np.resize(np.asarray(ids, dtype=np.int64), self.config.tokens)
        starts = [self._table[words]]
        for restart in range(1, self.config.restarts):
            random = np.random.default_rng([seed, restart])
            noise = random.normal(0, self.config.noise * self.deviation, starts[0].shape)
            starts.append(self._table[random.permutation(words)] + noise)
        vectors = np.stack(starts).astype(np.float32)
        return SoftState(vectors, vectors.copy(), np.full(len(vectors), np.inf))

    def advance(self, state: SoftState, seed: int = 0) -> None:
        """Make one step from every start; of a new state, look where it stands.

        Parameters
        ----------
        state
            Changed in place.
        seed
            Has no say in it.
        """
        if state.curve:
            if self._gradients is None:
                # It was read from a file: the gradients there are found again, at no cost to the attack.
                self._gradients = self._look(state.vectors, Meter(self.target.module))[1]
            size = np.float32(self.config.step_size * self.deviation)
            state.vectors = (state.vectors - size * np.sign(self._gradients)).astype(np.float32)
        losses, self._gradients = self._look(state.vectors, self.meter)
        is_better = losses < state.best_loss
        state.best[is_better] = state.vectors[is_better]
        state.best_loss = np.where(is_better, losses, state.best_loss)
        state.curve.append(losses.tolist())

    def read(self, arrays: Arrays) -> SoftState:
        """A state from a file."""
        self._gradients = None
        return SoftState.from_arrays(arrays)

    def _look(self, vectors: Vectors, meter: Meter) -> tuple[NDArray[np.float64], Vectors]:
        """Losses ``(restarts,)`` and their gradients."""
        found = [self.look(one, meter) for one in vectors]
        return np.array([loss for loss, _ in found]), np.stack([gradient for _, gradient in found])

    def look(self, vectors: Vectors, meter: Meter) -> tuple[float, Vectors]:
        """Mean loss over the prompts under some vectors ``(tokens, d)``, and its gradient.

        Parameters
        ----------
        vectors
            In the place of tokens.
        meter
            What it costs is added here.
        """
        import torch

        module = self.target.module
        given = torch.from_numpy(vectors).to(module.device).requires_grad_()
        total = 0.0
        gradient: Vectors = np.zeros_like(vectors)
        rows = [slot.fill(self.numbers) for slot in self.slots]
        with evaluating(module), standing_in(module, given), _memory():
            for start in range(0, len(rows), self.config.batch_size):
                batch = rows[start : start + self.config.batch_size]
                loss = beginning_losses(module, batch, self.beginning).sum() / len(rows)
                gradient += torch.autograd.grad(loss, given)[0].float().cpu().numpy()
                total += float(loss.detach())
                meter.add(sum(len(row) + len(self.beginning) for row in batch), "adapter")
        return total, gradient


def _memory() -> Any:
    return full_memory_as_error("searching a soft prompt", "lower batch_size of the attack, or tokens")
