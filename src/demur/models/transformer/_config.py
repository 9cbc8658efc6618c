"""Settings of the transformer family."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from demur.config import Settings
from demur.errors import ConfigError, RegistryError
from demur.models._encoder import DEFAULT_MODEL
from demur.models._torch import TorchConfig


class LoraSettings(Settings):
    """Low-rank changes beside the linear layers, which stay as they are (``tuning: lora``)."""

    rank: int = Field(default=16, ge=1, le=1024, description="Rank of a layer's change.")
    alpha: float = Field(default=32, gt=0, description="The change is scaled by alpha / rank.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout before the change.")
    targets: tuple[str, ...] = Field(
        default=(), description="Names of the layers to change, such as q_proj; empty: all linear ones."
    )


class DistillSettings(Settings):
    """A larger classifier whose probabilities on the training rows the small one learns beside the labels."""

    teacher: str | dict[str, Any] = Field(
        description="A preset, a mapping with preset: or family: and settings:, either trained on the training "
        "rows first; or the folder of a saved model."
    )
    temperature: float = Field(
        default=2.0, gt=0, le=20, description="Softens both sides' probabilities; 1 leaves them."
    )
    weight: float = Field(
        default=0.5, gt=0, le=1, description="Share of the teacher in the loss; the labels have the rest."
    )
    folds: int = Field(
        default=0,
        ge=0,
        le=20,
        description="Let a teacher judge only rows that it did not learn, in that many grouped folds, "
        "a fit each; 0: one teacher judges what it learned.",
    )
    unseen: bool = Field(
        default=False,
        description="Assert that a saved teacher learned from no row that is held out here; needed to use one.",
    )

    @field_validator("teacher")
    @classmethod
    def _mark_folder(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        # Marked as one, a folder is none the less one where the student is read without it.
        is_bare = isinstance(value, str) and "/" not in value and Path(value).is_dir()
        return f"./{value}" if is_bare else value

    @model_validator(mode="after")
    def _check_teacher(self) -> Self:
        if self.folds == 1:
            raise ValueError("distill.folds is 1; give 0 for none, or at least 2")
        if isinstance(self.teacher, dict):
            unknown = sorted(set(self.teacher) - {"preset", "family", "settings"})
            if unknown or ("preset" in self.teacher) == ("family" in self.teacher):
                raise ValueError(
                    "teacher as a mapping has either preset: or family:, and settings:"
                    + (f"; it has {', '.join(unknown)} besides" if unknown else "")
                )
        if isinstance(self.teacher, dict):
            self._resolve(self.teacher)
        elif "/" not in self.teacher:  # else a folder, which may be made by then
            self._resolve({"preset": self.teacher})
        return self

    @staticmethod
    def _resolve(named: dict[str, Any]) -> None:
        """Refuse a teacher that nobody knows now, before hours of other models' training."""
        from demur.models._presets import find_family

        name, own = named.get("preset", named.get("family")), named.get("settings", {})
        if not isinstance(name, str) or not isinstance(own, dict):
            wrong = f"name {name!r}" if isinstance(own, dict) else f"settings: {own!r}"
            raise ValueError(f"a teacher's preset or family is a name, its settings a mapping; found {wrong}")
        try:
            find_family(named.get("preset"), named.get("family"), own, "distill.teacher")
        except (RegistryError, ConfigError) as error:
            raise ValueError(f"teacher: {error}") from None


class TransformerConfig(TorchConfig):
    """A pre-trained encoder or causal language model with a classification head, fine-tuned together."""

    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        description="Embedded model, short name (roberta, deberta_v3, ...), local folder, GGUF file, or name on "
        "the hub.",
    )
    head: Literal["mean", "cls", "cls_mean", "last", "transformers"] = Field(
        default="mean",
        description="A linear layer over the mean of the tokens, the first (cls), both (cls_mean), or the last; "
        "transformers: the architecture's own head, so that plain transformers can load the whole saved folder.",
    )
    tuning: Literal["full", "lora", "head"] = Field(
        default="full",
        description="What is trained: all weights, low-rank changes and the head, or the head alone.",
    )
    lora: LoraSettings = Field(default=LoraSettings(), description="The changes of tuning: lora.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout before the linear layer of our heads.")
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
    head_rate: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Factor on the learning rate of the head; it is new and has further to go than the encoder.",
    )
    encoder_dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Dropout inside the encoder in training; null keeps the model's own, 0 saves a CPU a fifth.",
    )
    distill: DistillSettings | None = Field(default=None, description="A teacher to learn from; null: none.")
    store: Literal["auto", "whole", "changes"] = Field(
        default="auto",
        description="A saved model is whole, or holds what training changed and names its base with a hash; auto: "
        "changes for a language model tuned by lora or head, else whole.",
    )

    @model_validator(mode="after")
    def _check_tuning(self) -> Self:
        if self.freeze_layers and self.tuning != "full":
            raise ValueError(
                f"freeze_layers={self.freeze_layers} is for tuning: full; with tuning: {self.tuning} the model's "
                "own weights stay as they are already; leave it out"
            )
        if self.store == "changes" and self.tuning == "full":
            raise ValueError("store: changes needs tuning: lora or head, since tuning: full changes every weight")
        return self
