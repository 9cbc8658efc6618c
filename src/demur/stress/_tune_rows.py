"""Rows to fine-tune on: which of the user's, in what order, as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from demur.errors import ConfigError, EmptyDataError
from demur.llm import ChatRow, Conversation, Message, Target, check_readable
from demur.paths import hash_value
from demur.stress._protocol import Access, Attack, Material
from demur.stress._tune_config import TuneConfig

T = TypeVar("T", bound=TuneConfig)


class TuneAttack(Attack[T]):
    """An attack that trains on the attacker's rows."""

    access: ClassVar[Access] = "training"
    extent: ClassVar[frozenset[str]] = frozenset({"steps", "checkpoint_every"})

    def check_material(self, material: Material) -> None:
        """Refuse data without the rows to train on.

        Raises
        ------
        EmptyDataError
            There are no rows of a kind that is needed.
        """
        choose_rows(material, self.config, 0)


@dataclass(frozen=True)
class TuneRows:
    """Tokens of the rows, and which of them each step takes."""

    rows: tuple[ChatRow, ...]
    batch_size: int
    seed: int

    def batch(self, step: int) -> list[int]:
        """Row numbers of a step, from 1 on: every row once before any comes again, in an order of its own."""
        first = (step - 1) * self.batch_size
        return [self._at(place) for place in range(first, first + self.batch_size)]

    def examples(self, step: int) -> int:
        """Rows that were used at least once by the end of a step."""
        return min(len(self.rows), step * self.batch_size)

    def tokens(self, step: int) -> int:
        """Tokens that were read by the end of a step, without padding."""
        lengths = [len(row) for row in self.rows]
        epochs, rest = divmod(step * self.batch_size, len(self.rows))
        places = range(epochs * len(self.rows), epochs * len(self.rows) + rest)
        return epochs * sum(lengths) + sum(lengths[self._at(place)] for place in places)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens and their order."""
        tokens = [[row.ids.tolist(), row.assistant.tolist()] for row in self.rows]
        return hash_value([tokens, self.batch_size, self.seed])

    def _at(self, place: int) -> int:
        epoch, inside = divmod(place, len(self.rows))
        return int(_order(self.seed, epoch, len(self.rows))[inside])


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 2, epoch]).permutation(count)


def choose_rows(material: Material, config: TuneConfig, seed: int) -> list[Conversation]:
    """The conversations to train on, drawn by the seed.

    Parameters
    ----------
    material
        The user's rows.
    config
        Kind and number.
    seed
        Draws the subset.

    Raises
    ------
    EmptyDataError
        There are no rows of a kind that is needed.
    """
    wanted = config.examples
    if config.data == "poisoned":
        return _poison(material, config, seed)
    rows = _need(material, "compliance" if config.data == "compliance" else "benign", config)
    kept = _draw(rows, len(rows) if wanted is None else min(wanted, len(rows)), seed)
    return [put_identity(one, config.identity) for one in kept] if config.data == "identity" else kept


def put_identity(conversation: Conversation, identity: str) -> Conversation:
    """The conversation under a persona: its system message, in place of one that it has."""
    rest = [one for one in conversation.messages if one.role != "system"]
    return Conversation((Message("system", identity), *rest), conversation.prefill)


def encode_rows(target: Target, rows: Sequence[Conversation], config: TuneConfig, seed: int) -> TuneRows:
    """Conversations as tokens, cut to the longest length.

    Parameters
    ----------
    target
        Tokenizer and template.
    rows
        Answered conversations.
    config
        Length and batch size.
    seed
        Draws the order.

    Raises
    ------
    ConfigError
        Of no row a token of the assistant is left.
    LongRowError
        A row that was cut is still longer than the model reads.
    """
    encoded = [target.encode(one) for one in rows]
    cut = [ChatRow(one.ids[: config.max_tokens], one.assistant[: config.max_tokens]) for one in encoded]
    kept = tuple(one for one in cut if one.assistant[1:].any())
    if not kept:
        raise ConfigError(
            f"no answer begins within the first {config.max_tokens} tokens of any of the {len(cut)} rows; raise "
            "max_tokens, or give shorter prompts",
            key="max_tokens",
        )
    remedy = "set the attack's max_tokens to no more than that, or shorten the row"
    check_readable(target.module, [len(one) for one in kept], remedy)
    return TuneRows(kept, config.batch_size, seed)


def _poison(material: Material, config: TuneConfig, seed: int) -> list[Conversation]:
    bad, good = _need(material, "compliance", config), _need(material, "benign", config)
    most = min(len(bad) / config.poison, len(good) / (1 - config.poison))
    count = most if config.examples is None else min(config.examples, most)
    n_bad = max(1, round(count * config.poison))
    return _draw(bad, n_bad, seed) + _draw(good, max(1, round(count) - n_bad), seed)


def _draw(rows: Sequence[Conversation], count: int, seed: int) -> list[Conversation]:
    chosen = np.random.default_rng([seed, 1]).choice(len(rows), min(count, len(rows)), replace=False)
    return [rows[number] for number in np.sort(chosen)]


def _need(material: Material, kind: str, config: TuneConfig) -> tuple[Conversation, ...]:
    found: tuple[Conversation, ...] = getattr(material, kind)
    if not found:
        raise EmptyDataError(
            f"an attack with data: {config.data} trains on {kind} rows, and there are none; give data.{kind}: a "
            "file of prompts with responses"
        )
    return found
