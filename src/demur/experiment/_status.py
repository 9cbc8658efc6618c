"""Why a model is no row of figures: one status and one line of reason for whatever may go wrong."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from demur.errors import DemurError, MissingDependencyError, MissingModelError

Status = Literal["ok", "failed", "skipped"]
LONGEST_REASON = 500
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "bad_alloc", "cannot allocate memory")


@contextmanager
def during(words: str) -> Iterator[None]:
    """Note on an error what was being done when it came; :func:`describe_failure` says so."""
    try:
        yield
    except Exception as error:
        error.add_note(words)
        raise


def describe_failure(error: Exception) -> tuple[Status, str]:
    """Status and one-line reason of a model that could not be fitted or judged.

    ``skipped`` is a model that lacks something outside of it, weights or a library; anything else ``failed``.
    """
    skipped = isinstance(error, MissingModelError | MissingDependencyError)
    where = [note for note in getattr(error, "__notes__", ()) if "\n" not in note][:1]
    return "skipped" if skipped else "failed", ": ".join([*where, _words_of(error)])[:LONGEST_REASON]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means too little memory; torch and the boosters hide that in errors of their own."""
    if isinstance(error, DemurError):
        return False  # it says itself what to do
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)


def free_memory() -> None:
    """Give back what a failed model held, so that the next one has it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _words_of(error: Exception) -> str:
    words = " ".join(str(error).split())
    if is_out_of_memory(error):
        said = words or "the machine has too little memory for it"
        return f"{type(error).__name__}: {said}; take fewer rows, smaller batches or a smaller model"
    if isinstance(error, DemurError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
