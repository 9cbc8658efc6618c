"""Settings of judges and of the detector of incoherent text."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from demur.config import Settings
from demur.llm import TargetConfig

Rate = Literal["hard_refusal", "soft_refusal", "refused", "not_refused", "complied", "incoherent"]


class JudgeCounts(Settings):
    """A judge's verdicts on responses labelled by hand, for one rate."""

    true_positives: int = Field(ge=0, description="Responses that count for the rate and were called so.")
    false_negatives: int = Field(ge=0, description="Responses that count for it and were not.")
    true_negatives: int = Field(ge=0, description="Responses that do not and were left out.")
    false_positives: int = Field(ge=0, description="Responses that do not and were called so.")


class JudgeSpec(Settings):
    """Who says what a response is."""

    kind: Literal["keywords", "classifier", "model"] = Field(
        description="Documented keyword rules; a classifier of demur; a language model on this machine."
    )
    name: str | None = Field(default=None, min_length=1, description="As in tables; the kind where absent.")
    file: str | None = Field(
        default=None, description="Own keyword rules (of keywords), or own rubric (of model), as a file."
    )
    model: str | None = Field(
        default=None,
        description="Of classifier: the folder of a saved model, or a preset to be fitted to the starter corpus.",
    )
    target: TargetConfig | None = Field(default=None, description="Of model: the language model that judges.")
    max_new_tokens: int = Field(default=12, ge=1, le=4096, description="Of model: most tokens of a verdict.")
    batch_size: int = Field(default=16, ge=1, le=4096, description="Of model: verdicts at a time.")
    calibration: dict[Rate, JudgeCounts] = Field(
        default={},
        description="Its verdicts on labelled responses of tampered models, by rate; rates are then corrected.",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.kind == "classifier" and not self.model:
            raise ValueError("a judge of kind classifier needs model: a folder, or a preset such as tfidf_logreg")
        if self.kind == "model" and self.target is None:
            raise ValueError("a judge of kind model needs target: the language model that judges")
        return self

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.name or self.kind


class CoherenceConfig(Settings):
    """When a response counts as incoherent, whatever a judge makes of it."""

    max_repetition: float | None = Field(
        default=None, ge=0, le=1, description="Most share of repeated 4-grams of tokens; null: calibrated."
    )
    min_entropy: float | None = Field(
        default=None, ge=0, le=1, description="Least entropy of its tokens over the largest; null: calibrated."
    )
    max_nll: float | None = Field(
        default=None, gt=0, description="Most nats a token under the untampered base; null: calibrated."
    )
    perplexity: bool = Field(default=True, description="Whether the untampered base reads the responses.")
    quantile: float = Field(
        default=0.99, gt=0.5, lt=1, description="Of the untampered model's own responses, for calibration."
    )
    margin_nll: float = Field(
        default=2.0,
        ge=0,
        description="Nats beyond that quantile: another's words are never as likely as one's own.",
    )
    floor_nll: float = Field(
        default=5.5, ge=0, description="Calibration calls nothing incoherent that has fewer nats a token."
    )
