"""Settings of circuit breakers: what is trained, on which rows, for how long, and when it is enough."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from demur.config import Settings
from demur.data import DataSource
from demur.llm import TargetConfig


class RetainSource(DataSource):
    """Rows whose representation is held still, and their part in the mixture."""

    kind: Literal["chat", "borderline", "refusal"] = Field(
        default="chat",
        description="Ordinary chat, safe requests that sound unsafe, or refusals of unsafe ones; for the record.",
    )
    share: float = Field(default=1.0, gt=0, description="Weight of this source among the retain rows drawn.")


class HardenData(Settings):
    """Rows to break and rows to retain, each for training and for validation."""

    breakers: tuple[DataSource, ...] = Field(
        min_length=1, description="Prompts with a full response that the model must come to be unable to give."
    )
    retain: tuple[RetainSource, ...] = Field(
        min_length=1,
        description="Prompts with responses to be left as they are; mix chat, borderline and refusal.",
    )
    breakers_valid: tuple[DataSource, ...] = Field(
        default=(), description="Held-out rows to break; without them a share of the prompts above."
    )
    retain_valid: tuple[RetainSource, ...] = Field(
        default=(), description="Held-out rows to retain; without them a share of the prompts above."
    )
    held_out: float = Field(
        default=0.1, gt=0, lt=1, description="Share of the prompts held out where no own rows are given for it."
    )
    split_by: Literal["auto", "group", "category", "prompt"] = Field(
        default="auto",
        description="Column whose rows stay on one side, beside those of one prompt; auto: group, else category "
        "where no category is larger than the share held out. Rows to break of one response stay together too, "
        "but for prompt.",
    )
    evaluation: tuple[DataSource, ...] = Field(
        default=(),
        description="Prompts the result will be judged on; one of them among the training rows is a leak.",
    )
    max_tokens: int = Field(
        default=1024,
        ge=8,
        le=131_072,
        description="Tokens of a row, or as many as the model reads where that is less; the end is cut off.",
    )
    drop_request: float = Field(
        default=0.5, ge=0, le=1, description="Share of the breaker rows whose request is left out."
    )
    retain_drop_request: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The same for retain rows; where it is 0, an empty request alone gives a breaker row away.",
    )


class LoraSettings(Settings):
    """The adapter that is trained."""

    rank: int = Field(default=16, ge=1, le=1024, description="Rank of the update.")
    alpha: float = Field(
        default=16.0, gt=0, description="LoRA's own scale (alpha / rank); not the breaker's alpha."
    )
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout before the update, in training.")
    modules: Literal["all-linear"] | tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default="all-linear",
        description="Every linear layer of a trained block, or those of these names (q_proj).",
    )


class StopRule(Settings):
    """When training ends before its last step."""

    enabled: bool = Field(default=True, description="Whether it may.")
    cosine: float = Field(
        default=0.1, ge=-1, le=1, description="Held-out breaker cosine must be below this at every target layer."
    )
    retain: float = Field(
        default=0.1, gt=0, description="Held-out relative retain L2, the mean over layers, must be at most this."
    )
    flat: float = Field(default=0.05, ge=0, description="Relative change of it that counts as none.")
    patience: int = Field(default=2, ge=1, description="Validations in a row for which all must hold.")


class HardenConfig(Settings):
    """A circuit breaker: representation rerouting with LoRA."""

    name: str = Field(default="breaker", min_length=1, description="Name of the run and of its folder.")
    target: TargetConfig = Field(default=TargetConfig(), description="The language model.")
    data: HardenData = Field(description="The rows.")
    layers: tuple[int | float, ...] = Field(
        default=(0.31, 0.62),
        min_length=1,
        description="Hidden states that are rerouted: indices (0 is the embedding), or shares of the depth.",
    )
    objective: Literal["rerouting", "random_vector", "probe"] = Field(
        default="rerouting",
        description="What breaker states are pushed to: away from where they were; to a random direction; to the "
        "harmless side of a linear probe.",
    )
    retain_loss: Literal["scaled", "faithful"] = Field(
        default="scaled",
        description="Scaled: masked mean, each layer relative to its norm. Faithful: as first published, "
        "absolute, over all positions of rows padded to max_tokens, with one block more.",
    )
    mask: Literal["assistant", "no_prefix", "all_text"] = Field(
        default="assistant",
        description="Tokens that count: the assistant's; all but the prefix that every row shares; all.",
    )
    alpha: float = Field(default=10.0, gt=0, description="Scale of both losses in the schedule.")
    retain_weight: float = Field(
        default=1.0,
        gt=0,
        description="Factor on the retain loss, to be found for each model; with AdamW alpha hardly counts.",
    )
    steps: int = Field(default=150, ge=1, le=100_000, description="Steps of the optimiser.")
    batch_size: int = Field(default=16, ge=1, le=4096, description="Rows of each kind a step, over all processes.")
    accumulate: int = Field(
        default=1, ge=1, le=4096, description="Forward passes a step is split into on each process; saves memory."
    )
    learning_rate: float = Field(
        default=1e-4,
        gt=0,
        le=1,
        description="Constant rate of AdamW, to be found for each model; small ones want more than large ones.",
    )
    max_gradient: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    lora: LoraSettings = Field(default=LoraSettings(), description="The adapter.")
    bucketing: bool = Field(default=True, description="Put rows of similar length into one batch.")
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Compute activations twice instead of keeping them; auto: where memory would not suffice.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="Arithmetic; auto is bf16 where a GPU has it, else fp32."
    )
    evaluate_every: int = Field(default=10, ge=1, description="Steps between validations.")
    checkpoint_every: int = Field(default=25, ge=1, description="Steps between checkpoints to go on from.")
    valid_rows: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="Rows of each kind a validation looks at.",
    )
    kl_every: int = Field(
        default=50, ge=0, description="Steps between measures of KL to the base; 0: at the end only."
    )
    kl_rows: int = Field(
        default=256, ge=1, le=100_000, description="Held-out retain rows KL is measured on, evenly by source."
    )
    stop: StopRule = Field(default=StopRule(), description="When training ends early.")
    merged: bool = Field(default=False, description="Also save the merged model, for plain transformers.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of adapter, order of rows, dropout.")

    @model_validator(mode="after")
    def _split_evenly(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be split into {self.accumulate} equal passes; "
                "make accumulate one of its divisors"
            )
        return self
