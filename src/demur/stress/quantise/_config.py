"""Settings of rounding weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from demur.config import Settings

Bits = Literal["int8", "nf4", "int4"]


class QuantiseConfig(Settings):
    """To what, and by whom."""

    bits: tuple[Bits, ...] = Field(
        default=("int8", "nf4", "int4"),
        min_length=1,
        description="Kinds of numbers the weights are rounded to, a stage each: int8 by row with inputs rounded "
        "as they come, nf4 and int4 by groups.",
    )
    group: int = Field(default=64, ge=2, le=65_536, description="Weights that share a scale in nf4 and int4.")
    backend: Literal["simulated", "bitsandbytes"] = Field(
        default="simulated",
        description="Who rounds: demur, on any device, or the kernels of bitsandbytes on a GPU (int8 and nf4).",
    )
    merge: bool = Field(
        default=True,
        description="Merge an adapter before rounding, as it would be shipped; else it is left whole.",
    )
