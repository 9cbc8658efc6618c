"""Settings of taking the direction of refusal out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from demur.config import Settings

Mode = Literal["activations", "weights"]


class AblationConfig(Settings):
    """Where directions are looked for, and what they may cost."""

    modes: tuple[Mode, ...] = Field(
        default=("activations", "weights"),
        min_length=1,
        description="Take it out of the residual stream as the model runs, or out of the weights for good.",
    )
    directions: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(1, 3),
        min_length=1,
        description="How many layers' directions are taken out together, the best first; a stage each and mode.",
    )
    layers: tuple[int | float, ...] = Field(
        default=(),
        description="Layers whose directions are tried, in numbers or fractions of the depth; empty: all from 1.",
    )
    skip_last: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the last layers that are not tried; they write, not decide."
    )
    max_kl: float = Field(
        default=0.1,
        gt=0,
        description="Most that an ablation may change the first token after harmless prompts: mean KL, in nats.",
    )
    prompts: int = Field(default=128, ge=2, le=100_000, description="Most prompts of each kind that are used.")
    batch_size: int = Field(default=32, ge=1, le=4096, description="Prompts a forward pass.")
