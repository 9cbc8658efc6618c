"""Settings of the compliant turns before a request."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from demur.config import Settings


class FewShotConfig(Settings):
    """How many turns."""

    shots: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        default=(1, 2, 4, 8),
        min_length=1,
        description="Answered conversations put before the request; a stage each.",
    )
