"""Settings of the embedding family."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from demur.config import Settings
from demur.models._encoder import Pooling
from demur.models.classical import ClassicalConfig

View = Literal["response", "prompt", "product", "head", "head_product", "first_sentence", "sentence_mean"]
HeadName = Literal["logreg", "svc", "prototype", "knn"]


class EmbeddingConfig(Settings):
    """Views of each record through a frozen encoder, other features beside them, and the head that learns."""

    encoder: str = Field(
        default="embedded:minilm", description="embedded:minilm, a local folder, or a name on a model hub."
    )
    views: tuple[View, ...] = Field(
        default=("response", "prompt", "product"),
        min_length=1,
        description="Texts embedded (head, first_sentence and sentence_mean are of the response) and products of "
        "embeddings. Views of a text the task does not read are dropped; with none left, its own text is one.",
    )
    pooling: Pooling = Field(
        default="mean",
        description="How a text's token vectors become one: mean, cls (the first), max, or mean_max (both).",
    )
    max_tokens: int = Field(default=256, ge=16, le=8192, description="Tokens read of each text.")
    head_words: int = Field(default=40, ge=1, le=8192, description="Words of the head view.")
    sentence_tokens: int = Field(default=64, ge=4, le=8192, description="Tokens read of each sentence.")
    most_sentences: int = Field(default=40, ge=1, le=10_000, description="Sentences read of each response.")
    max_chars: int = Field(default=4000, ge=50, description="Characters read by sentences and lexical columns.")
    embedding_weight: float = Field(default=1.0, gt=0, le=10, description="Size of each view beside the others.")
    lexical: bool = Field(
        default=False, description="Add named columns: refusing phrases, lists, lengths, overlap."
    )
    lexical_weight: float = Field(default=1.0, gt=0, le=10, description="Size of the lexical columns.")
    anchors: bool = Field(
        default=False,
        description="Add cosines of the response's sentences with prototype sentences and the prompt.",
    )
    features: ClassicalConfig | None = Field(
        default=None, description="TF-IDF features beside the views; null: none."
    )
    head: HeadName = Field(
        default="logreg",
        description="logreg; svc (radial kernel, calibrated on grouped folds); prototype (shrunken class means) "
        "and knn (near training rows by cosine), which need few rows.",
    )
    c: float = Field(default=1.0, gt=0, description="Inverse regularisation of logreg and svc.")
    gamma: float = Field(
        default=0.6, gt=0, description="Sharpness of svc's kernel, by the mean squared length of a row."
    )
    shrinkage: float = Field(
        default=1.0, ge=0, le=1000, description="Rows' worth by which prototype draws a class mean to the centre."
    )
    neighbours: int = Field(default=15, ge=1, le=1000, description="Training rows that knn looks at.")
    balanced: bool = Field(default=True, description="Weigh classes by the inverse of their share.")
    cache: str | None = Field(
        default=None,
        min_length=1,
        exclude=True,
        description="Folder that keeps vectors from run to run under hashes of their texts (user: demur's cache "
        "folder); null: none. Not part of a saved model.",
    )

    @model_validator(mode="after")
    def _check(self) -> EmbeddingConfig:
        if len(set(self.views)) < len(self.views):
            raise ValueError(f"views repeat: {', '.join(self.views)}; name each once")
        if self.head != "logreg" and self.features is not None:
            raise ValueError(
                f"features go with head logreg, not {self.head}, which would keep every row of them; drop one"
            )
        if self.lexical and self.features is not None and self.features.lexical:
            raise ValueError("lexical and features.lexical add the same columns; turn one of them off")
        return self
