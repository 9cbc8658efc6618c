"""Settings of LoRA fine-tuning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from demur.stress._tune_config import TuneConfig


class LoraConfig(TuneConfig):
    """Fine-tuning of a low-rank update."""

    rank: int = Field(default=16, ge=1, le=4096, description="Rank of the update.")
    scale: float = Field(default=1.0, gt=0, description="The update's factor: LoRA's alpha over its rank.")
    learning_rate: float = Field(default=2e-4, gt=0, le=1, description="Constant rate of AdamW.")
    modules: Literal["all-linear"] | tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default="all-linear", description="Every linear layer but the output, or those of these names (q_proj)."
    )
