"""Whether a model can be trained here at all, told from its files before it is loaded."""

from __future__ import annotations

import math
from pathlib import Path

from demur.models.transformer._config import TransformerConfig
from demur.training import Activations, ParameterCounts, check_memory, estimate_memory


def check_before_loading(folder: str | Path, config: TransformerConfig) -> None:
    """Refuse a model whose weights, gradients and optimiser alone exceed the memory that is free.

    A bound from below: what a batch adds is known, and checked, once the model is there.

    Raises
    ------
    TrainingError
        It cannot fit; the message says how much is needed, and what helps.
    """
    total = count_weights(folder)
    # Adapters and heads are a percent or so of a model; not counting them keeps this a lower bound.
    counts = ParameterCounts(total, total if config.tuning == "full" and not config.freeze_layers else 0)
    check_memory(estimate_memory(counts, config.train, Activations(0.0, 0.0, 0.0), config.max_tokens))


def count_weights(folder: str | Path) -> int:
    """How many weights the safetensors files in a folder hold; only their headers are read."""
    from safetensors import SafetensorError, safe_open

    total = 0
    for path in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safe_open(str(path), framework="np") as file:
                total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
        except SafetensorError:
            # Loading says what is wrong with it.
            return 0
    return total
