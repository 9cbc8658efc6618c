"""Settings of target models and of what they write."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from demur.config import Settings


class TargetConfig(Settings):
    """A language model that is asked, attacked or hardened."""

    model: str = Field(
        default="embedded:smollm2",
        min_length=1,
        description="embedded:smollm2, a GGUF file, a folder of transformers, or a name on the hub.",
    )
    adapter: str | None = Field(default=None, description="Folder of a PEFT adapter trained on that model.")
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Type of the weights; auto is bf16 on a GPU that has it, else fp32."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where it runs; auto takes a GPU where there is one."
    )
    chat_template: str | None = Field(
        default=None, description="A Jinja file, where the tokenizer brings no chat template or another is wanted."
    )
    system: str | None = Field(
        default=None, description="System message of every conversation that has none of its own."
    )


class GenerationConfig(Settings):
    """How answers are written."""

    max_new_tokens: int = Field(default=128, ge=1, le=100_000, description="Most tokens of an answer.")
    temperature: float = Field(
        default=0.0, ge=0, le=100, description="0 takes the likeliest token; above, tokens are drawn."
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Tokens are drawn among the likeliest that hold this probability."
    )
    top_k: int = Field(default=0, ge=0, description="Tokens are drawn among that many likeliest; 0: all.")
    batch_size: int = Field(default=16, ge=1, le=4096, description="Answers written at a time.")
    seed: int = Field(default=0, ge=0, description="Of the drawing; the same for any batch size.")
