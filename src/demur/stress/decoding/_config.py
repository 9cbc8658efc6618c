"""Settings of how answers are drawn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from demur.config import Settings

Share = Annotated[float, Field(gt=0, lt=1)]
Warmth = Annotated[float, Field(gt=0, le=100)]


class DecodingConfig(Settings):
    """A grid of temperatures, each alone and with each restriction; then several answers a prompt."""

    temperatures: tuple[Warmth, ...] = Field(default=(0.7, 1.0, 1.5), description="Tokens are drawn at each.")
    top_p: tuple[Share, ...] = Field(
        default=(0.9,), description="With each temperature: only the likeliest tokens that hold this probability."
    )
    top_k: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(50,), description="With each temperature: only that many likeliest tokens."
    )
    best_of: tuple[Annotated[int, Field(ge=2, le=10_000)], ...] = Field(
        default=(4,), description="Answers a prompt, of which the most compliant counts; a stage each."
    )
    best_of_temperature: Warmth = Field(default=1.0, description="Temperature of those answers.")
