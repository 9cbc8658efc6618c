"""How much memory a training will need, before its first step, and what to do where there is not enough.

Weights, gradients and the optimiser's states follow from the parameters. The activations kept for the backward
pass are measured: one row is passed forward at a few lengths, and what autograd keeps is counted. For a model
that is not loaded yet they are reckoned from its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demur.errors import TrainingError
from demur.training._config import TrainConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

_GIB = 2**30
_OPTIMIZER_BYTES = 12
"""AdamW keeps two float32 values a trained parameter, and reckons with a third in a step."""
_BACKWARD_SHARE = 0.15
"""What the backward pass holds beside the activations, as a share of them: the gradients of a layer or two."""
_ALLOCATION_FAILURES = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
_REMEDIES = (
    "lower train.batch_size and raise train.accumulate as much (the same step in less memory), "
    "set train.gradient_checkpointing: true, lower max_tokens, tune with LoRA or freeze_layers, "
    "or take a smaller model"
)


@dataclass(frozen=True)
class ParameterCounts:
    """How many parameters a model has, and how many of them are trained."""

    total: int
    trainable: int
    bytes_each: float = 4.0
    """Bytes a parameter takes; 2 for a model loaded in half precision."""


@dataclass(frozen=True)
class ModelShape:
    """What decides the size of a transformer's activations."""

    hidden: int
    layers: int
    intermediate: int
    heads: int


@dataclass(frozen=True)
class Activations:
    """Bytes that a forward pass keeps for the backward pass."""

    fixed: float
    """However many rows: copies of the weights in half precision."""
    per_token: float
    per_pair: float
    """For each pair of tokens of a row: attention that is kept as a table."""
    shape: ModelShape | None = None

    @classmethod
    def of_shape(cls, shape: ModelShape) -> Activations:
        """Reckon them from a transformer's shape, in float32 with dropout.

        Kept in a layer are some eleven vectors of the hidden size a token (inputs of the projections and of the
        norms, queries, keys, values, masks of dropout), two of the feed-forward size, and for each head three
        tables of attention. Gated feed-forward layers (ModernBERT, Llama) keep up to half as much again.
        """
        token = 4 * (11.0 * shape.hidden + 2.0 * shape.intermediate)
        return cls(0.0, shape.layers * token, shape.layers * shape.heads * 12.0, shape)

    def of_batch(self, rows: int, tokens: int, recomputed: bool) -> float:
        """Bytes of a batch of ``rows`` rows of ``tokens`` tokens; ``recomputed``: with gradient checkpointing."""
        whole = self.fixed + rows * (tokens * self.per_token + tokens**2 * self.per_pair)
        if not recomputed or self.shape is None:
            return whole
        # Of every layer its input is kept, and one layer at a time is whole.
        return whole / self.shape.layers + 4.0 * rows * tokens * self.shape.hidden * self.shape.layers


@dataclass(frozen=True)
class MemoryEstimate:
    """What a training needs at its highest, in bytes, and what is there."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    device: str
    available: float
    """Bytes free on the device now."""
    loaded: bool = False
    """Whether the weights are in memory already, so that ``available`` is without them."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations

    @property
    def is_enough(self) -> bool:
        """Whether what is there suffices."""
        return self.total - (self.weights if self.loaded else 0) <= self.available

    def to_json(self) -> dict[str, Any]:
        """The estimate as a JSON object."""
        parts = {name: round(getattr(self, name)) for name in ("weights", "gradients", "optimizer", "activations")}
        return {**parts, "total": round(self.total), "device": self.device, "available": round(self.available)}


def estimate_memory(
    counts: ParameterCounts, config: TrainConfig, activations: Activations, tokens: int, loaded: bool = False
) -> MemoryEstimate:
    """Reckon what a training needs at its highest: a full batch of the longest rows.

    Parameters
    ----------
    counts
        Parameters, and how many of them are trained.
    config
        Batch size, gradient checkpointing, device.
    activations
        Measured by :func:`measure_activations`, or reckoned from a shape.
    tokens
        Length of the longest rows.
    loaded
        Whether the model's weights are in memory already.
    """
    from demur.training._runtime import pick_device

    device = pick_device(config.device)
    kept = activations.of_batch(config.batch_size, tokens, config.gradient_checkpointing)
    return MemoryEstimate(
        weights=counts.total * counts.bytes_each,
        gradients=counts.trainable * counts.bytes_each,
        optimizer=counts.trainable * (counts.bytes_each / 4) * _OPTIMIZER_BYTES,
        activations=kept * (1 + _BACKWARD_SHARE),
        device=device.type,
        available=free_memory(device),
        loaded=loaded,
    )


def check_memory(estimate: MemoryEstimate) -> None:
    """Refuse a training that cannot fit.

    Raises
    ------
    TrainingError
        More is needed than is there: the message says how much of what, and what saves memory.
    """
    if estimate.is_enough:
        return
    parts = ", ".join(
        f"{name} {getattr(estimate, name) / _GIB:.1f}"
        for name in ("weights", "gradients", "optimizer", "activations")
    )
    raise TrainingError(
        f"training needs about {estimate.total / _GIB:.1f} GiB ({parts}), but the {estimate.device} has "
        f"{estimate.available / _GIB:.1f} GiB free{' beside the weights' if estimate.loaded else ''}; {_REMEDIES}"
    )


def count_parameters(module: nn.Module) -> ParameterCounts:
    """Count a module's parameters."""
    sizes = [(one.numel(), one.requires_grad, one.element_size()) for one in module.parameters()]
    total = sum(count for count, *_ in sizes)
    taken = sum(count * width for count, _, width in sizes)
    return ParameterCounts(total, sum(count for count, trained, _ in sizes if trained), taken / max(total, 1))


def read_shape(config: Any) -> ModelShape | None:
    """The shape in a transformers configuration, or None where it has none; ``config`` may be None."""
    names = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads")
    values = [getattr(config, name, None) for name in names]
    return ModelShape(*values) if all(isinstance(value, int) for value in values) else None  # type: ignore[arg-type]


def measure_activations(
    module: nn.Module, make_batch: Callable[[int], dict[str, Any]], longest: int
) -> Activations:
    """Pass one row forward at a few lengths and count what autograd keeps; changes no weight and no random state.

    Parameters
    ----------
    module
        On the device it is trained on.
    make_batch
        Inputs of one row of that many tokens, on the same device.
    longest
        Tokens of the longest row; none longer is passed.
    """
    import torch

    lengths = sorted({max(1, min(longest, length)) for length in (8, 24, 48)})
    buffers = {name: tensor.clone() for name, tensor in module.named_buffers()}
    was_training = module.training
    module.train()
    try:
        with torch.random.fork_rng():
            kept = [_count_kept(module, make_batch(length)) for length in lengths]
    finally:
        module.train(was_training)
        for name, tensor in module.named_buffers():
            tensor.copy_(buffers[name])
    # As many unknowns as lengths: tokens first, then what is fixed, then pairs of tokens.
    powers = (1, 0, 2)[: len(lengths)]
    table = np.array([[float(length) ** power for power in powers] for length in lengths])
    solved = dict(zip(powers, np.linalg.solve(table, np.array(kept)), strict=True))
    fixed, token, pair = (max(float(solved.get(power, 0.0)), 0.0) for power in (0, 1, 2))
    return Activations(fixed, token, pair, read_shape(getattr(module, "config", None)))


def _count_kept(module: nn.Module, batch: dict[str, Any]) -> float:
    import torch

    # Of a weight that is split between processes, this one's part.
    parts = [one.to_local() if hasattr(one, "to_local") else one for one in module.parameters()]
    own = {part.untyped_storage().data_ptr() for part in parts}
    found: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            # Held, so that no later tensor gets the same address.
            found[storage.data_ptr()] = tensor
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = module(**batch)
        kept = float(sum(tensor.untyped_storage().nbytes() for tensor in found.values()))
    del outputs
    return kept


def free_memory(device: torch.device | None = None) -> float:
    """Bytes free on a device, or of the machine's memory; the limit of a container counts."""
    import psutil
    import torch

    if device is not None and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    found = [float(psutil.virtual_memory().available), _container_free()]
    return min(free for free in found if free is not None)


def _container_free(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    try:
        limit = (root / "memory.max").read_text(encoding="utf-8").strip()
        used = float((root / "memory.current").read_text(encoding="utf-8"))
        stat = (root / "memory.stat").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    # Cached files are given back when memory is wanted.
    cached = sum(float(line.split()[1]) for line in stat if line.startswith("inactive_file "))
    return None if limit == "max" else float(limit) - used + cached


@contextmanager
def full_memory_as_training_error(device: str = "cpu") -> Iterator[None]:
    """Turn what Python and torch raise where memory runs out into a :class:`TrainingError` with the remedy.

    Raises
    ------
    TrainingError
        Memory ran out; the message says what saves some.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(part in text for part in _ALLOCATION_FAILURES):
            raise
        raise TrainingError(f"memory of the {device} ran out in training; {_REMEDIES}") from error
