"""Settings of full fine-tuning."""

from __future__ import annotations

from pydantic import Field

from demur.stress._tune_config import TuneConfig


class FullConfig(TuneConfig):
    """Fine-tuning of all weights."""

    learning_rate: float = Field(default=1e-5, gt=0, le=1, description="Constant rate of AdamW.")
    keep_weights: bool = Field(
        default=False,
        description="Save all weights of every stage, the size of the model each; else the last state alone.",
    )
