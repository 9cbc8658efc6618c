"""Rows of like length together, as many as a forward pass should hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from demur.llm._conversation import TokenIds

_PASS_TOKENS = 4096
"""Tokens of a forward pass, padding included: enough to fill a processor, and few enough for the logits."""


def plan_batches(lengths: Sequence[int], tokens: int = _PASS_TOKENS) -> list[list[int]]:
    """Batches of row numbers: sorted by length, the longest first, of at most ``tokens`` with the padding.

    Parameters
    ----------
    lengths
        Of each row.
    tokens
        A row that is longer makes a batch alone.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def pad_right(rows: Sequence[TokenIds], pad: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows as one table ``(b, t)`` that begins where they begin, and its mask."""
    ids, mask = pad_left([row[::-1] for row in rows], pad)
    return ids[:, ::-1].copy(), mask[:, ::-1].copy()


def pad_left(rows: Sequence[TokenIds], pad: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows as one table ``(b, t)`` that ends where they end, and its mask."""
    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, width - len(row) :] = row
        mask[number, width - len(row) :] = 1
    return ids, mask
