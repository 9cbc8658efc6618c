"""Settings of turning a defence down."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from demur.config import Settings


class AttenuateConfig(Settings):
    """How far."""

    factors: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=(0.0, 0.25, 0.5, 0.75),
        min_length=1,
        description="What the defence's change of the weights is multiplied by; 0 is the base. A stage each.",
    )
