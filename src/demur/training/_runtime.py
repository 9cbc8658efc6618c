"""What torch work needs around it: seeds that are put back, silence from transformers, a device."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from demur.errors import require

if TYPE_CHECKING:
    import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch for a block; their earlier states come back after it."""
    torch = require("torch", extra="torch")
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the reports, progress bars and announcements of transformers for a block; errors still show."""
    require("transformers", extra="torch")
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # What peft and transformers will change one day is of no use to who runs demur.
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\b")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def pick_device(wanted: str) -> torch.device:
    """The torch device for ``auto`` (an accelerator where there is one) or ``cpu``."""
    import torch

    if wanted == "auto" and torch.accelerator.is_available():
        found = torch.accelerator.current_accelerator()
        assert found is not None
        return found
    return torch.device("cpu")
