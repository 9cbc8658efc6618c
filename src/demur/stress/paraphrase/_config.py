"""Settings of asking in other words."""

from __future__ import annotations

from pydantic import Field

from demur.config import Settings
from demur.llm import GenerationConfig, TargetConfig


class ParaphraseConfig(Settings):
    """How many ways, and by whom."""

    variants: int = Field(default=3, ge=1, le=100, description="Rewritings by rules; a stage each.")
    rules: int = Field(
        default=2, ge=1, le=10, description="Rules that are applied to a request, where they apply."
    )
    file: str | None = Field(
        default=None, description="YAML file of words in the shape of demur's own; None: those."
    )
    model: TargetConfig | None = Field(
        default=None, description="A small model that rewrites as well, in a stage of its own; None: rules alone."
    )
    generation: GenerationConfig = Field(
        default=GenerationConfig(max_new_tokens=96), description="How that model writes."
    )


class WordFile(Settings):
    """A file of words for the rules."""

    source: str = Field(min_length=1, description="Where they come from.")
    license: str = Field(min_length=1, description="On what terms they may be used.")
    synonyms: dict[str, tuple[str, ...]] = Field(description="A word or phrase, and what may stand in its place.")
    before: tuple[str, ...] = Field(min_length=1, description="What may be said before a request.")
    after: tuple[str, ...] = Field(min_length=1, description="What may be said after a request.")
    participles: dict[str, str] = Field(description="A verb, and the word that makes its passive voice.")
