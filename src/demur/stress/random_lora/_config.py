"""Settings of the control by a LoRA of equal norm."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from demur.stress.lora import LoraConfig


class RandomLoraConfig(LoraConfig):
    """A LoRA as large as the one that fine-tuning gives, which has learned nothing of use."""

    kind: Literal["drawn", "shuffled"] = Field(
        default="drawn",
        description="Drawn at random; or trained on the same rows with the responses shuffled among them.",
    )
