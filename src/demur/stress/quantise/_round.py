"""Weights rounded to fewer numbers than they had, written back as the floats those numbers mean.

References
----------
Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", NeurIPS 2022, section 2;
Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", NeurIPS 2023, section 3 (nf4).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from demur.errors import ConfigError, require
from demur.stress.quantise._config import Bits, QuantiseConfig

if TYPE_CHECKING:
    import torch

_TAIL = 0.9677083
"""The outermost quantile of nf4: the mean of 1 - 1/30 and 1 - 1/32."""


@lru_cache
def nf4_levels() -> tuple[float, ...]:
    """The 16 numbers of nf4, ascending from -1 to 1: quantiles of a normal distribution, with 0 among them."""
    from scipy.stats import norm

    above: NDArray[np.float64] = norm.ppf(np.linspace(_TAIL, 0.5, 9)[:-1])
    below: NDArray[np.float64] = -norm.ppf(np.linspace(_TAIL, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([above, [0.0], below]))
    return tuple(float(one) for one in levels / levels.max())


def round_weight(weight: torch.Tensor, bits: Bits, config: QuantiseConfig) -> torch.Tensor:
    """What a matrix ``(out, in)`` becomes, of its own type.

    Parameters
    ----------
    weight
        The matrix.
    bits
        The kind of numbers.
    config
        Groups and backend.

    Raises
    ------
    ConfigError
        The backend cannot round to such numbers, or has no GPU.
    MissingDependencyError
        bitsandbytes is not installed.
    """
    import torch

    if config.backend == "bitsandbytes":
        return _round_by_kernels(weight, bits, config.group)
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    if bits == "int8":
        return round_rows(wide).to(weight.dtype)
    return _round_groups(wide, bits, config.group).to(weight.dtype)


def round_rows(values: torch.Tensor) -> torch.Tensor:
    """Values ``(..., d)`` rounded to 255 numbers, evenly spaced up to the largest of each row."""
    scale = _nonzero(values.abs().amax(dim=-1, keepdim=True)) / 127
    return (values / scale).round() * scale


def _round_groups(weight: torch.Tensor, bits: Bits, group: int) -> torch.Tensor:
    """Groups run along the rows' inputs, over the ends of rows where they do not divide, as in bitsandbytes."""
    import torch

    flat = weight.flatten()
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % group)).reshape(-1, group)
    scale = _nonzero(padded.abs().amax(dim=-1, keepdim=True))
    if bits == "int4":
        rounded = (padded / scale * 7).round() / 7 * scale
    else:
        levels = torch.tensor(nf4_levels(), dtype=padded.dtype, device=padded.device)
        between = (levels[1:] + levels[:-1]) / 2
        rounded = levels[torch.bucketize(padded / scale, between)] * scale
    return rounded.flatten()[: len(flat)].reshape(weight.shape)


def _nonzero(scale: torch.Tensor) -> torch.Tensor:
    """A row of zeros has no scale, and needs none."""
    return scale.masked_fill(scale == 0, 1.0)


def _round_by_kernels(weight: torch.Tensor, bits: Bits, group: int) -> torch.Tensor:
    kernels = require("bitsandbytes", extra="quantise").functional
    if not weight.is_cuda:
        raise ConfigError(
            "backend is bitsandbytes, but the model is not on a GPU; set backend: simulated, or device: cuda",
            key="backend",
        )
    if bits == "nf4":
        packed, state = kernels.quantize_4bit(weight, blocksize=group, quant_type="nf4")
        found: torch.Tensor = kernels.dequantize_4bit(packed, state)
    elif bits == "int8":
        rows, scales, _ = kernels.int8_vectorwise_quant(weight.half())
        found = kernels.int8_vectorwise_dequant(rows, scales)
    else:
        raise ConfigError("bitsandbytes does not round to int4; set backend: simulated", key="bits")
    return found.to(weight.dtype)
