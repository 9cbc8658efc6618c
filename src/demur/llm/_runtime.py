"""What running a model needs around it: device, type, evaluation mode, one sentence where memory runs out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from demur.errors import ConfigError, LongRowError, NoMemoryError

if TYPE_CHECKING:
    import torch

_ALLOCATION_FAILURES = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device of a target.

    Raises
    ------
    ConfigError
        A GPU is asked for and torch sees none.
    """
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but torch sees no GPU; set device: cpu or auto", key="device")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(wanted: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> torch.dtype:
    """The type of a target's weights on that device."""
    import torch

    if wanted == "auto":
        wanted = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]


def readable_tokens(module: Any) -> int | None:
    """Tokens that a model reads at most, prompt and answer together; None where its configuration says nothing."""
    return getattr(module.config.get_text_config(), "max_position_embeddings", None) or None


def check_readable(module: Any, lengths: Sequence[int], remedy: str = "shorten it") -> None:
    """Refuse rows that are longer than a model reads.

    Parameters
    ----------
    module
        A causal language model.
    lengths
        Tokens of each row.
    remedy
        What the user can do.

    Raises
    ------
    LongRowError
        A row has more tokens than the model has positions.
    """
    most = readable_tokens(module)
    if not lengths or most is None:
        return
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    if lengths[longest] > most:
        raise LongRowError(
            f"row {longest} has {lengths[longest]} tokens, but the model reads {most}; {remedy}", key="max_tokens"
        )


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Turn dropout off for a block; every part goes back to the mode it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def quiet_announcements() -> Iterator[None]:
    """Keep what peft and transformers will change one day from who runs demur, for a block."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\b")
        yield


@contextmanager
def full_memory_as_error(doing: str, remedy: str) -> Iterator[None]:
    """Turn what Python and torch raise where memory runs out into one sentence.

    Parameters
    ----------
    doing
        What was being done.
    remedy
        What saves memory.

    Raises
    ------
    NoMemoryError
        Memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(part in text for part in _ALLOCATION_FAILURES):
            raise
        raise NoMemoryError(f"memory ran out while {doing}; {remedy}") from error
