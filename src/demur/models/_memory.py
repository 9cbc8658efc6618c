"""Remembering what was worked out of a text: folds and heads of an experiment read the same texts.

What is worked out is left to the caller; nothing is written to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

K = TypeVar("K", bound=Hashable)
_ON: ContextVar[bool] = ContextVar("remember_texts", default=True)


@contextmanager
def without_memory() -> Iterator[None]:
    """Neither read nor add to any memory inside the block: a timing then pays for all its work."""
    token = _ON.set(False)
    try:
        yield
    finally:
        _ON.reset(token)


def is_remembering() -> bool:
    """False inside :func:`without_memory`."""
    return _ON.get()


class TextMemory:
    """Rows of numbers by text, safe to share between threads.

    Parameters
    ----------
    most
        Texts kept; when more come, all older ones are forgotten.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: dict[Any, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def rows(self, texts: Sequence[K], compute: Callable[[list[K]], NDArray[Any]]) -> NDArray[Any]:
        """One row a text, ``(n, d)``; ``compute`` is asked once, for the distinct texts not remembered."""
        if not len(texts):
            return compute([])
        remembers = _ON.get()
        distinct = dict.fromkeys(texts)
        found = {text: row for text in distinct if (row := self._kept.get(text)) is not None} if remembers else {}
        missing = [text for text in distinct if text not in found]
        if missing:
            fresh = dict(zip(missing, compute(missing), strict=True))
            found |= fresh
            if remembers:
                if len(self._kept) + len(fresh) > self.most:
                    self._kept = {}
                self._kept.update(fresh)
        return np.stack([found[text] for text in texts])
