"""Settings of the searched suffix."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from demur.stress._search import SearchConfig


class GcgConfig(SearchConfig):
    """What is searched for, and how long."""

    steps: tuple[Annotated[int, Field(ge=0, le=100_000)], ...] = Field(
        default=(0, 25, 100, 250), min_length=1, description="Steps after which there is a stage."
    )
    tokens: int = Field(default=20, ge=1, le=1000, description="Tokens of the suffix.")
    start: str = Field(
        default=" ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! !",
        min_length=1,
        description="Text the search starts from, repeated or cut to the number of tokens.",
    )
    candidates: int = Field(default=64, ge=1, le=100_000, description="Suffixes that are tried at each step.")
    top_k: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="At each place, tokens with the most promising gradients to draw from.",
    )
    prompts: int = Field(
        default=4,
        ge=1,
        le=10_000,
        description="Most prompts a search for all is made on, all of them at each step.",
    )
    batch_size: int = Field(default=64, ge=1, le=4096, description="Prompts with a suffix in a forward pass.")
    only_ascii: bool = Field(default=True, description="Only tokens that can be typed on a plain keyboard.")
