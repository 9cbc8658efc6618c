"""Settings of the neural family."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from demur.models._encoder import DEFAULT_MODEL
from demur.models._torch import TorchConfig
from demur.training import TrainConfig

Architecture = Literal["cnn", "lstm", "bilstm", "transformer", "hybrid"]


class NeuralTrainConfig(TrainConfig):
    """The training loop with the defaults of networks that start from nothing: more passes, larger steps."""

    epochs: int = Field(default=20, ge=1, le=1000, description="Most passes over the training rows.")
    batch_size: int = Field(default=32, ge=1, le=4096, description="Rows a step and device.")
    learning_rate: float = Field(default=1.5e-3, gt=0, le=1, description="Peak learning rate of AdamW.")
    patience: int = Field(
        default=4, ge=1, description="Epochs without a better validation score after which training stops."
    )


class NeuralConfig(TorchConfig):
    """A network over subwords learned from the training rows."""

    architecture: Architecture = Field(
        default="cnn",
        description="cnn: convolutions of several widths; lstm, bilstm: recurrent; transformer: self-attention; "
        "hybrid: convolutions read by an lstm.",
    )
    vocabulary: int = Field(
        default=6000, ge=300, le=200_000, description="Most subwords; the training rows decide which."
    )
    lowercase: bool = Field(default=True, description="Read capitals as small letters.")
    embeddings: Literal["random", "encoder"] = Field(
        default="encoder",
        description="Where subword vectors start: random, or the encoder's word vectors cut to embedding_dim.",
    )
    encoder: str = Field(
        default=DEFAULT_MODEL, min_length=1, description="Whose word vectors: embedded model, folder, or hub name."
    )
    embedding_dim: int = Field(default=128, ge=4, le=4096, description="Numbers of a subword.")
    widths: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(
        default=(3, 4, 5), min_length=1, description="Subwords that a filter sees, one kind a width (cnn, hybrid)."
    )
    filters: int = Field(default=64, ge=1, le=4096, description="Filters of each width (cnn, hybrid).")
    hidden: int = Field(
        default=96,
        ge=2,
        le=8192,
        description="State of an lstm, each direction its own; inner width of a transformer block.",
    )
    layers: int = Field(
        default=1, ge=1, le=48, description="Recurrent layers or transformer blocks, one on the other."
    )
    heads: int = Field(default=4, ge=1, le=64, description="Attention heads of a transformer block.")
    dropout: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        description="Dropout of the embeddings and before the last layer; half of it inside.",
    )
    predict_rows: int = Field(default=64, ge=1, description="Most rows a forward pass in prediction.")
    train: NeuralTrainConfig = Field(default=NeuralTrainConfig(), description="The training loop.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.architecture == "transformer" and self.embedding_dim % self.heads:
            raise ValueError(
                f"heads={self.heads} do not divide embedding_dim={self.embedding_dim}; give one that does"
            )
        if len(set(self.widths)) < len(self.widths):
            raise ValueError(f"widths repeat: {', '.join(map(str, self.widths))}; name each once")
        return self
