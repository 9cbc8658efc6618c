"""Settings of micro-batching."""

from __future__ import annotations

from pydantic import Field

from demur.config import Settings


class BatchingConfig(Settings):
    """How rows of many requests are judged together."""

    max_rows: int = Field(default=32, ge=1, le=4096, description="Most rows judged in one call of a model.")
    max_wait_ms: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Milliseconds a free thread waits for more rows; 0: it takes what is there at once.",
    )
    max_queue: int = Field(
        default=1024, ge=1, le=1_000_000, description="Most rows that wait for a model; then 429."
    )
