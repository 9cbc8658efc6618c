"""Settings of the dual family."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from demur.models._encoder import DEFAULT_MODEL
from demur.models._torch import TorchConfig


class DualConfig(TorchConfig):
    """One pre-trained encoder with a linear layer for each of several tasks, fine-tuned together."""

    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        description="Embedded model, short name (roberta, deberta_v3, ...), local folder, or name on the hub.",
    )
    tasks: tuple[str, ...] = Field(
        default=(),
        description="Tasks to learn beside the classifier's own (which may be among them); empty: every task at "
        "hand that reads the same texts.",
    )
    task_weights: dict[str, Annotated[float, Field(gt=0, le=100)]] = Field(
        default={}, description="Weight of a task in the loss, by its name; 1 for those not named."
    )
    balance_tasks: bool = Field(
        default=True,
        description="Let every task count the same in the loss, however many rows it has (by up to ten "
        "times); else every label counts the same.",
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout before the linear layers.")
    freeze_layers: int = Field(
        default=0,
        ge=0,
        description="Leave the embeddings and this many first blocks as they are; 0 trains everything.",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate from each block to the one below it; 1 trains all alike.",
    )
    valid_share: float = Field(
        default=0.12,
        ge=0,
        lt=1,
        description="Share of another task's rows that early stopping watches, in whole groups, where it watches "
        "rows of the classifier's own task; 0 for none.",
    )

    @model_validator(mode="after")
    def _name_once(self) -> Self:
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks {list(self.tasks)} repeat; name each once")
        return self
