"""The search for a suffix of tokens: gradients say which swaps are worth trying, trials say which is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import ConfigError
from demur.llm import Target, evaluating, full_memory_as_error
from demur.stress._meter import Meter
from demur.stress._slot import Ids, Slot, beginning_losses, embed_vocabulary, standing_in, vocabulary_of
from demur.stress._states import Arrays
from demur.stress.gcg._config import GcgConfig

if TYPE_CHECKING:
    import torch


@dataclass
class SuffixState:
    """Where the search is."""

    ids: Ids
    """``(tokens,)``: what the next step starts from."""
    best: Ids
    """That of the lowest loss so far."""
    best_loss: float
    curve: list[float] = field(default_factory=list)
    """Loss after each step, from step 0 on."""

    @property
    def step(self) -> int:
        """Steps that were made."""
        return max(0, len(self.curve) - 1)

    def to_arrays(self) -> Arrays:
        """For a file."""
        return {
            "ids": self.ids,
            "best": self.best,
            "best_loss": np.array(self.best_loss),
            "curve": np.array(self.curve, dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> SuffixState:
        """From a file."""
        return cls(arrays["ids"], arrays["best"], arrays["best_loss"].item(), arrays["curve"].tolist())


class SuffixSearch:
    """A suffix that stands after each of several prompts.

    Parameters
    ----------
    target
        The model.
    slots
        Prompts, and where the suffix goes.
    beginning
        Tokens answers are to begin with.
    config
        Lengths and counts.
    allowed
        See :func:`find_allowed`.
    """

    def __init__(
        self, target: Target, slots: Sequence[Slot], beginning: Ids, config: GcgConfig, allowed: NDArray[np.bool_]
    ) -> None:
        self.target, self.slots, self.beginning = target, slots, beginning
        self.config, self.meter = config, Meter(target.module)
        self._table = embed_vocabulary(target.module).float()
        first = vocabulary_of(target.module)
        self._numbers = np.arange(first, first + config.tokens, dtype=np.int64)
        self._forbidden = ~allowed
        # Some tokenizers read no text of pieces as the pieces alone; there the suffix by itself must do.
        self._is_strict = self.is_read_back(slots[0], self.begin().ids)

    def begin(self, seed: int = 0) -> SuffixState:
        """The state before the first step; the seed has no say in it."""
        ids = self.target.tokenizer(self.config.start, add_special_tokens=False, verbose=False)["input_ids"]
        start = np.resize(np.asarray(ids, dtype=np.int64), self.config.tokens)
        return SuffixState(start, start.copy(), float("inf"))

    def advance(self, state: SuffixState, seed: int) -> None:
        """Make one step; of a new state, look where it stands.

        Parameters
        ----------
        state
            Changed in place.
        seed
            Of the swaps that are drawn, together with the step.
        """
        if not state.curve:
            loss = float(self.losses(state.ids[None])[0])
        else:
            random = np.random.default_rng([seed, state.step])
            tried = self.draw_candidates(state.ids, self.gradients(state.ids), random)
            losses = self.losses(tried)
            place = int(losses.argmin())
            state.ids, loss = tried[place], float(losses[place])
        if loss < state.best_loss:
            state.best, state.best_loss = state.ids.copy(), loss
        state.curve.append(loss)

    def read(self, arrays: Arrays) -> SuffixState:
        """A state from a file."""
        return SuffixState.from_arrays(arrays)

    def gradients(self, ids: Ids) -> NDArray[np.float32]:
        """Gradient of the mean loss by the one-hot coding of a suffix: ``(tokens, v)``.

        Parameters
        ----------
        ids
            The suffix.
        """
        import torch

        module = self.target.module
        vectors = self._table[torch.from_numpy(ids).to(self._table.device)].clone().requires_grad_()
        gradient = torch.zeros_like(vectors)
        rows = [slot.fill(self._numbers) for slot in self.slots]
        with evaluating(module), standing_in(module, vectors), _memory():
            for start in range(0, len(rows), self.config.batch_size):
                batch = rows[start : start + self.config.batch_size]
                loss = beginning_losses(module, batch, self.beginning).sum() / len(rows)
                gradient += torch.autograd.grad(loss, vectors)[0]
                self._count(batch, "adapter")
        # A vector is its one-hot coding times the table, so the gradient by the coding is this product.
        found: NDArray[np.float32] = (gradient @ self._table.T).cpu().numpy()
        return found

    def draw_candidates(self, ids: Ids, gradients: NDArray[np.float32], random: np.random.Generator) -> Ids:
        """Suffixes ``(candidates, tokens)``, each with one token swapped for a promising one.

        Parameters
        ----------
        ids
            The suffix.
        gradients
            See :meth:`gradients`.
        random
            Where they are drawn from.
        """
        promising = np.where(self._forbidden, np.inf, gradients)
        promising[np.arange(len(ids)), ids] = np.inf
        top = min(self.config.top_k, int((~self._forbidden).sum()) - 1)
        order = np.argsort(promising, axis=1, kind="stable")[:, :top]  # (tokens, top)
        found: list[Ids] = []
        # Some swaps are not read back as they were written; as many again are drawn, a few times.
        for _ in range(4 * self.config.candidates):
            place = int(random.integers(len(ids)))
            one = ids.copy()
            one[place] = order[place, int(random.integers(top))]
            if self.is_text(one):
                found.append(one)
            if len(found) == self.config.candidates:
                break
        return np.stack(found or [ids])

    def losses(self, suffixes: Ids) -> NDArray[np.float64]:
        """Mean loss over the prompts with each suffix ``(n, tokens)``: ``(n,)``.

        Parameters
        ----------
        suffixes
            To try.
        """
        import torch

        rows = [slot.fill(one) for one in suffixes for slot in self.slots]
        found: list[torch.Tensor] = []
        with evaluating(self.target.module), torch.no_grad(), _memory():
            for start in range(0, len(rows), self.config.batch_size):
                batch = rows[start : start + self.config.batch_size]
                found.append(beginning_losses(self.target.module, batch, self.beginning).double().cpu())
                self._count(batch, "forward")
        values: NDArray[np.float64] = torch.cat(found).reshape(len(suffixes), -1).mean(dim=1).numpy()
        return values

    def is_text(self, ids: Ids) -> bool:
        """Whether a suffix, written after the first prompt, is read as the very tokens it was found as.

        Parameters
        ----------
        ids
            The suffix.
        """
        nothing = np.empty(0, dtype=np.int64)
        return self.is_read_back(self.slots[0] if self._is_strict else Slot(nothing, nothing), ids)

    def is_read_back(self, slot: Slot, ids: Ids) -> bool:
        """Whether a prompt with a suffix, written as text, is read as the very tokens it is made of.

        Parameters
        ----------
        slot
            The prompt.
        ids
            The suffix.
        """
        whole = slot.fill(ids)
        text = self.target.tokenizer.decode(whole, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        again = self.target.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return len(again) == len(whole) and bool((np.asarray(again) == whole).all())

    def _count(self, rows: Sequence[Ids], kind: Any) -> None:
        self.meter.add(sum(len(row) + len(self.beginning) for row in rows), kind)


def find_allowed(target: Target, *, only_ascii: bool) -> NDArray[np.bool_]:
    """Tokens ``(v,)`` a suffix may hold: those that are text, not signs of the template.

    Parameters
    ----------
    target
        Its tokenizer counts, as far as the model has embeddings.
    only_ascii
        Leave out all that a plain keyboard lacks.

    Raises
    ------
    ConfigError
        Fewer than two are left.
    """
    size = vocabulary_of(target.module)
    known = min(size, len(target.tokenizer))
    special = {*target.tokenizer.all_special_ids, *target.tokenizer.added_tokens_decoder}
    texts = target.tokenizer.batch_decode([[token] for token in range(known)], clean_up_tokenization_spaces=False)
    allowed = np.zeros(size, dtype=bool)
    for token, text in enumerate(texts):
        is_typed = text.isascii() and text.isprintable() if only_ascii else "\N{REPLACEMENT CHARACTER}" not in text
        allowed[token] = bool(text) and is_typed and token not in special
    if allowed.sum() < 2:
        raise ConfigError(
            "the tokenizer has no tokens that a suffix could be made of; set only_ascii: false", key="only_ascii"
        )
    return allowed


def _memory() -> Any:
    return full_memory_as_error("searching a suffix", "lower batch_size or prompts of the attack")
