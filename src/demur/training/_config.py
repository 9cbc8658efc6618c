"""Settings of the torch training loop, shared by every family it trains, and of adaptive class weights."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from demur.config import Settings


class BalanceConfig(Settings):
    """When and how far adaptive class weights are raised; see :class:`demur.training.WeightController`."""

    recall: float = Field(
        default=0.95, gt=0, le=1, description="Wanted at least, of each class whose recall is in the task's score."
    )
    precision: float = Field(
        default=0.80, gt=0, le=1, description="Wanted at least, of each class whose precision is in the score."
    )
    f1: float = Field(
        default=0.75, gt=0, le=1, description="Wanted at least, of each class whose F1 is in the score."
    )
    false_alarm_rate: float = Field(
        default=0.02, ge=0, lt=1, description="Wanted at most: the share of safe rows that are called a threat."
    )
    missed_threat_rate: float = Field(
        default=0.02, ge=0, lt=1, description="Wanted at most: the share of threats that are called safe."
    )
    patience: int = Field(
        default=2, ge=1, description="Evaluations in a row off target after which a weight is raised."
    )
    alpha_step: float = Field(default=0.1, gt=0, le=10, description="How far a weight is raised at a time.")
    lowest: float = Field(default=0.5, gt=0, description="No alpha starts below this.")
    highest: float = Field(default=3.0, gt=0, description="No alpha goes above this.")

    @model_validator(mode="after")
    def _order_bounds(self) -> Self:
        if self.lowest >= self.highest:
            raise ValueError(f"lowest={self.lowest} is not below highest={self.highest}; leave the weights room")
        return self


class TrainConfig(Settings):
    """How a torch classifier is trained: AdamW, warm-up and decay, early stopping on the task's score."""

    epochs: int = Field(default=4, ge=1, le=1000, description="Most passes over the training rows.")
    batch_size: int = Field(default=16, ge=1, le=4096, description="Rows a forward pass.")
    accumulate: int = Field(
        default=1, ge=1, le=4096, description="Forward passes whose gradients make one step; saves memory."
    )
    learning_rate: float = Field(default=5e-5, gt=0, le=1, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="Decoupled weight decay of AdamW.")
    warmup_share: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises from 0."
    )
    scheduler: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="How the learning rate goes on after the warm-up."
    )
    max_gradient: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    evals_per_epoch: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Validations (and checkpoints) an epoch, evenly spread over its steps.",
    )
    watch: bool = Field(
        default=True,
        description="Set an eighth of the training groups aside, stop by them, keep the checkpoint they favour; "
        "false: learn from all rows for all epochs, for recipes that are fixed beforehand.",
    )
    patience: int = Field(
        default=2, ge=1, description="Validations in a row without a better one after which training stops."
    )
    choose: Literal["smoothed", "score"] = Field(
        default="smoothed",
        description="Which checkpoint is kept: that of the best validation score, or of the best weighted mean of "
        "a score and the two before it (4:2:1). Ties go to the lower validation loss.",
    )
    loss: Literal["cross_entropy", "focal"] = Field(
        default="cross_entropy", description="The loss; focal counts rows less that are already judged well."
    )
    gamma: float = Field(default=3.0, ge=0, le=10, description="How sharply focal loss discounts easy rows.")
    alpha: tuple[Annotated[float, Field(gt=0, le=100)], ...] | None = Field(
        default=None,
        description="A weight for each class, in the order of the labels. Empty: 1 with cross_entropy; with focal "
        "1.5 for the class of the heaviest term of the task's score, 1 for the others.",
    )
    class_weights: Literal["auto", "none", "balanced", "adaptive"] = Field(
        default="auto",
        description="What alpha is multiplied by: 1, or the inverse frequency of the class (auto: balanced with "
        "cross_entropy, none with focal); adaptive starts as auto does and raises alpha after validations.",
    )
    balance: BalanceConfig = Field(default=BalanceConfig(), description="Targets and steps of adaptive weights.")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the target spread evenly over all classes."
    )
    padding: Literal["dynamic", "max_length"] = Field(
        default="dynamic", description="Pad a batch to its longest row, or every row to the token limit."
    )
    bucketing: bool = Field(default=True, description="Put rows of similar length into one batch.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="Arithmetic in training; auto is bf16 where a GPU has it, else fp32. fp16 needs a GPU.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute activations twice instead of keeping them: less memory, a third slower.",
    )
    device: Literal["auto", "cpu"] = Field(
        default="auto", description="Where training runs; auto takes an accelerator where there is one."
    )
