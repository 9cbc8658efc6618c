"""Encoded rows for training and inference: batches planned by length, padded no further than needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.training._tokens import TokenRows

if TYPE_CHECKING:
    import torch

_POOL = 50
"""Batches whose rows are sorted together by length in training: short enough to keep the order random."""


def plan_batches(lengths: NDArray[np.int64], max_rows: int, max_tokens: int) -> list[NDArray[np.int64]]:
    """Split rows into batches of similar length, longest first.

    Every batch has at most ``max_rows`` rows and, unless it is a single row, at most ``max_tokens`` tokens
    with padding. Rows of equal length keep their order, so the plan depends on the lengths alone.
    """
    order = np.argsort(-lengths, kind="stable")
    batches: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        count = max(1, min(max_rows, max_tokens // longest))
        batches.append(order[start : start + count])
        start += count
    return batches


def pad_rows(rows: TokenRows, pad_id: int, width: int | None = None) -> dict[str, NDArray[np.int64]]:
    """Pad rows: ``input_ids``, ``attention_mask``, ``token_type_ids``, each ``(n, t)``.

    Parameters
    ----------
    rows
        The token ids and segment ids.
    pad_id
        The id that fills short rows.
    width
        Columns at least; a batch is always as wide as its longest row.
    """
    width = max(int(rows.lengths.max()), width or 0)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    types = np.zeros((len(rows), width), dtype=np.int64)
    for number, (row, kinds) in enumerate(zip(rows.ids, rows.types, strict=True)):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
        types[number, : len(row)] = kinds
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


@dataclass(frozen=True)
class TokenDataset:
    """Encoded rows with their class ids; a map-style data set for torch.

    Parameters
    ----------
    rows
        The token ids.
    targets
        Class ids ``(n,)``; or of several heads ``(n, heads)``. -100 where a label is not known.
    soft
        A teacher's probabilities ``(n, k)``, NaN in rows it did not judge; None without a teacher.
    """

    rows: TokenRows
    targets: NDArray[np.int64]
    soft: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        item = {"ids": self.rows.ids[number], "types": self.rows.types[number], "label": self.targets[number]}
        if self.soft is not None:
            item["soft"] = self.soft[number]
        return item

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, ``(n,)``."""
        return self.rows.lengths

    def sorted_by_length(self) -> TokenDataset:
        """The same rows, longest first, so that plain batches carry little padding."""
        order = np.argsort(-self.lengths, kind="stable")
        soft = None if self.soft is None else self.soft[order]
        return TokenDataset(self.rows.take(order), self.targets[order], soft)


class PadCollator:
    """Turns dataset items into a batch of tensors for a module.

    Parameters
    ----------
    pad_id
        The id that fills short rows.
    inputs
        Which of ``input_ids``, ``attention_mask``, ``token_type_ids`` the module takes.
    width
        Tokens every batch is padded to at least; the longest row of a batch where absent.
    """

    def __init__(self, pad_id: int, inputs: Sequence[str], width: int | None = None) -> None:
        self.pad_id = pad_id
        self.inputs = tuple(inputs)
        self.width = width

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad the items; ``labels`` is ``(n,)`` or ``(n, heads)``; ``soft`` ``(n, k)`` is there with a teacher."""
        import torch

        rows = TokenRows([item["ids"] for item in items], [item["types"] for item in items])
        padded = pad_rows(rows, self.pad_id, self.width)
        batch = {name: torch.from_numpy(padded[name]) for name in self.inputs}
        batch["labels"] = torch.from_numpy(np.array([item["label"] for item in items], dtype=np.int64))
        if "soft" in items[0]:
            batch["soft"] = torch.from_numpy(np.array([item["soft"] for item in items], dtype=np.float32))
        return batch


class EpochSampler:
    """An order of rows that depends on the seed and the epoch alone, with similar lengths side by side.

    Rows are shuffled, cut into pools of a few dozen batches, sorted by length in each pool, and the
    batches are shuffled again. Unlike transformers' own length sampler its order in epoch 3 is the same
    whether or not epochs 1 and 2 ran in this process, so a resumed training sees the rows it would have.

    Parameters
    ----------
    lengths
        Tokens of each row, ``(n,)``.
    batch_size
        Rows a batch.
    seed
        Seed of the shuffling.
    bucketed
        Whether lengths matter; otherwise the order is shuffled and no more.
    """

    def __init__(self, lengths: NDArray[np.int64], batch_size: int, seed: int, bucketed: bool = True) -> None:
        self._lengths = lengths if bucketed else np.zeros_like(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self._seed, self._epoch])
        order = random.permutation(len(self._lengths))
        pool = self._batch_size * _POOL
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            rows = rows[np.argsort(-self._lengths[rows], kind="stable")]
            batches += [rows[at : at + self._batch_size] for at in range(0, len(rows), self._batch_size)]
        # The one short batch stays last, or the loader's own batches would straddle ours.
        whole = [batch for batch in batches if len(batch) == self._batch_size]
        short = [batch for batch in batches if len(batch) < self._batch_size]
        for number in random.permutation(len(whole)):
            yield from whole[number].tolist()
        for batch in short:
            yield from batch.tolist()
