"""The stream of paired rows: which retain row meets which breaker row at which step, and as what tokens.

A step's rows depend on the seed and the step alone: not on how many passes or processes share them, nor on whether
the training was interrupted. Within a step rows are sorted by length, so that passes hold rows of similar length.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import EmptyDataError
from demur.harden._data import BREAKER

if TYPE_CHECKING:
    import torch

    from demur.harden._config import HardenConfig
    from demur.harden._data import HardenRow, HardenRows
    from demur.llm import Target


@dataclass(frozen=True, eq=False)
class TokenRow:
    """A row's tokens and which of them count, both ``(t,)``."""

    ids: NDArray[np.int32]
    counts: NDArray[np.bool_]


@dataclass(frozen=True)
class TokenPair:
    """A retain row and a breaker row of one step."""

    retain: TokenRow
    breaker: TokenRow


class RowTokens:
    """Turns rows into tokens; each once.

    Parameters
    ----------
    target
        Whose template and tokenizer are used.
    config
        Mask, token limit.
    """

    def __init__(self, target: Target, config: HardenConfig) -> None:
        self._target = target
        self._mask = config.mask
        readable = getattr(target.module.config.get_text_config(), "max_position_embeddings", None)
        self._limit = min(config.data.max_tokens, readable or config.data.max_tokens)
        self._is_short = self._limit < config.data.max_tokens
        self.is_cut = False
        """Whether a row lost its end because the model reads no more, not because of the setting."""
        self._known: dict[tuple[str, int, bool], TokenRow] = {}
        self._prefix = 0
        self._retained: list[bytes] = []

    def encode(self, row: HardenRow, is_unasked: bool = False) -> TokenRow:
        """Tokens of a row, with its request or without, less what is beyond the limit.

        Of a conversation to break only the last answer counts: the turns before it may be harmless.
        """
        key = (row.id, id(row), is_unasked)
        if key not in self._known:
            found = self._target.encode(row.unasked if is_unasked else row.conversation)
            ids = found.ids[: self._limit]
            self.is_cut |= self._is_short and len(ids) < len(found)
            counts = np.arange(len(ids)) >= self._prefix
            if self._mask == "assistant":
                answer = _last_run(found.assistant) if row.kind == BREAKER else found.assistant
                counts = answer[: self._limit]
            if row.kind == BREAKER:
                counts = counts & (np.arange(len(ids)) >= self._shared_opening(ids))
            self._known[key] = TokenRow(ids, counts)
        return self._known[key]

    def keep_usable(self, rows: Sequence[HardenRow], what: str) -> list[HardenRow]:
        """Rows that have a token that counts within the limit, with their request and without.

        Raises
        ------
        EmptyDataError
            None has.
        """
        usable = [row for row in rows if all(self.encode(row, one).counts.any() for one in (False, True))]
        if not usable:
            raise EmptyDataError(
                f"no response of the {len(rows)} {what} rows begins within the first {self._limit} tokens; raise "
                "data.max_tokens, or give responses that are not retained word for word"
            )
        return usable

    def leave_out_openings(self, retain: Sequence[HardenRow]) -> None:
        """From now on a row to break counts only from where it differs from every row to retain.

        Up to there the two are one text, with one and the same state at each token: without its request an answer
        that begins like a refusal or like any answer cannot be told from it, so only the retain loss holds it.

        Parameters
        ----------
        retain
            All rows to retain that are trained on.
        """
        encoded = (self.encode(row, is_unasked).ids for row in retain for is_unasked in (False, True))
        self._retained = sorted({_spell(ids) for ids in encoded})
        # Rows to retain count as before.
        kept = {id(row) for row in retain}
        self._known = {key: row for key, row in self._known.items() if key[1] in kept}

    def _shared_opening(self, ids: NDArray[np.int32]) -> int:
        """Tokens at the beginning that are those of a row to retain."""
        text = _spell(ids)
        place = bisect_left(self._retained, text)
        # Of sorted texts, one of the two neighbours shares the longest beginning.
        return max((_shared(text, one) for one in self._retained[max(0, place - 1) : place + 1]), default=0)

    def leave_out_prefix(self, rows: Sequence[HardenRow]) -> int:
        """From now on the beginning that all these rows share does not count; gives its length in tokens.

        Its states are the same in both streams, since a token sees nothing of what follows it, so the two losses
        would pull at the same states in opposite directions.
        """
        encoded = [self.encode(row, is_unasked).ids for row in rows for is_unasked in (False, True)]
        shortest = min(len(ids) for ids in encoded)
        table = np.stack([ids[:shortest] for ids in encoded])
        differing = np.flatnonzero((table != table[0]).any(axis=0))
        self._prefix = int(differing[0]) if len(differing) else shortest
        self._known.clear()
        return self._prefix


def _last_run(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The last unbroken run of True."""
    places = np.flatnonzero(marked)
    if not len(places):
        return marked
    before = np.flatnonzero(~marked[: places[-1]])
    first = before[-1] + 1 if len(before) else 0
    return marked & (np.arange(len(marked)) >= first)


def _spell(ids: NDArray[np.int32]) -> bytes:
    """Four bytes a token, so that texts can be sorted."""
    return ids.astype(">i4").tobytes()


def _shared(one: bytes, other: bytes) -> int:
    """Tokens that two texts have in common at the beginning."""
    size = min(len(one), len(other))
    pair = (np.frombuffer(text[:size], dtype=">i4") for text in (one, other))
    differing = np.flatnonzero(np.not_equal(*pair))
    return int(differing[0]) if len(differing) else size // 4


def draw_rows(count: int, sizes: Sequence[int], shares: Sequence[float], seed: Sequence[int]) -> NDArray[np.int64]:
    """``(count, 2)`` draws: which source, which of its rows.

    Sources take turns by share, to the row; every row of a source is drawn once before one is drawn again.

    Parameters
    ----------
    count
        Draws.
    sizes
        Rows of each source.
    shares
        Weight of each source.
    seed
        Seed of the order.
    """
    weights = np.asarray(shares, dtype=np.float64) / sum(shares)
    exact = weights * count
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(-(exact - counts), kind="stable")[: count - counts.sum()]] += 1
    drawn = []
    for source, (size, wanted) in enumerate(zip(sizes, counts, strict=True)):
        turns = -(-int(wanted) // size)
        orders = [np.random.default_rng([*seed, source, turn]).permutation(size) for turn in range(turns)]
        rows = np.concatenate([*orders, np.zeros(0, dtype=np.int64)])[:wanted]
        drawn.append(np.column_stack([np.full(wanted, source, dtype=np.int64), rows]))
    return np.random.default_rng([*seed, 1_000_003]).permutation(np.concatenate(drawn))


class PairDataset:
    """All pairs of a run in the order they are trained on; a map-style data set for torch.

    Parameters
    ----------
    tokens
        Gives a row's tokens.
    rows
        The training rows.
    config
        Steps, rows a step, shares of dropped requests, seed.
    """

    def __init__(self, tokens: RowTokens, rows: HardenRows, config: HardenConfig) -> None:
        self._tokens, self._rows = tokens, rows
        count = config.steps * config.batch_size
        random = np.random.default_rng([config.seed, 7])
        self._breakers = draw_rows(count, [len(rows.breakers)], [1.0], [config.seed, 1])
        self._retain = draw_rows(count, [len(part) for part in rows.retain], rows.shares, [config.seed, 2])
        self._unasked = random.random((count, 2)) < (config.data.retain_drop_request, config.data.drop_request)
        self._order = (
            self._sort_steps(config.batch_size) if config.bucketing else np.tile(np.arange(count), (2, 1))
        )

    def __len__(self) -> int:
        return len(self._breakers)

    def __getitem__(self, number: int) -> TokenPair:
        retain, breaker = self._order[:, number]
        return TokenPair(self._retain_row(retain), self._breaker_row(breaker))

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        rows = (row for pair in map(self.__getitem__, range(len(self))) for row in (pair.retain, pair.breaker))
        return max(len(row.ids) for row in rows)

    def _retain_row(self, number: int) -> TokenRow:
        source, row = self._retain[number]
        return self._encode(self._rows.retain[source][row], bool(self._unasked[number, 0]))

    def _breaker_row(self, number: int) -> TokenRow:
        return self._encode(self._rows.breakers[self._breakers[number, 1]], bool(self._unasked[number, 1]))

    def _encode(self, row: HardenRow, is_unasked: bool) -> TokenRow:
        return self._tokens.encode(row, is_unasked)

    def _sort_steps(self, batch: int) -> NDArray[np.int64]:
        """``(2, n)``: within every step both streams from long to short."""
        streams = []
        for take in (self._retain_row, self._breaker_row):
            lengths = np.array([len(take(number).ids) for number in range(len(self))]).reshape(-1, batch)
            order = np.argsort(-lengths, axis=1, kind="stable") + np.arange(len(lengths))[:, None] * batch
            streams.append(order.ravel())
        return np.stack(streams)


class PairCollator:
    """Makes one batch of pairs: retain rows first, padded on the right to the longest row.

    Parameters
    ----------
    pad_id
        Fills short rows.
    padded
        Where given, a retain row counts as that many positions, as if all rows were padded to it.
    """

    def __init__(self, pad_id: int, padded: int | None = None) -> None:
        self._pad_id, self._padded = pad_id, padded

    def __call__(self, pairs: Sequence[TokenPair]) -> dict[str, torch.Tensor]:
        """Tensors of :meth:`BreakerModule.forward`, and ``units``: what the sums of both losses are divided by."""
        retain, breaker = [pair.retain for pair in pairs], [pair.breaker for pair in pairs]
        batch = pad_tokens([*retain, *breaker], self._pad_id)
        batch["is_breaker"][len(retain) :] = True
        counted = sum(int(row.counts.sum()) for row in retain)
        units = [
            sum(int(row.counts.sum()) for row in breaker),
            counted if self._padded is None else self._padded * len(retain),
        ]
        return batch | {"units": batch["input_ids"].new_tensor(units)}


def pad_tokens(rows: Sequence[TokenRow], pad_id: int) -> dict[str, Any]:
    """Rows padded on the right: ids, attention, what counts, each ``(n, t)``; and ``is_breaker``, all False."""
    import torch

    width = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    counts = np.zeros((len(rows), width), dtype=bool)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = row.ids
        mask[number, : len(row.ids)] = 1
        counts[number, : len(row.ids)] = row.counts
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "tokens": torch.from_numpy(counts),
        "is_breaker": torch.zeros(len(rows), dtype=torch.bool),
    }
