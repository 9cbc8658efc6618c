"""Settings of the classical family."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from demur.config import Settings
from demur.training import BalanceConfig

Head = Literal["logreg", "svm", "svc", "nb", "forest", "xgboost", "lightgbm"]
Balance = Literal["none", "balanced", "adaptive"]
BOOSTED = ("xgboost", "lightgbm")
TREES = ("forest", *BOOSTED)
ADAPTIVE = ("logreg", "svm", "svc", *BOOSTED)
"""Heads whose class weights can follow what they miss; complement naive Bayes has no use for weights, and a
forest's trees are no sequence."""


class ClassicalConfig(Settings):
    """TF-IDF features of each text a task reads, and the head that learns from them."""

    head: Head = Field(
        default="logreg",
        description="logreg, svm (linear), svc (RBF), nb (complement), forest, xgboost, lightgbm.",
    )
    fields: tuple[Literal["prompt", "response"], ...] = Field(
        default=(), description="Texts to read; empty: those of the task."
    )
    prompt_weight: float = Field(
        default=0.1,
        ge=0,
        le=10,
        description="Size of the prompt's terms beside the response's; at 1 a model learns prompts by heart, "
        "at 0 it reads the prompt in the lexical columns alone.",
    )
    word_ngrams: tuple[int, int] = Field(default=(1, 2), description="Shortest and longest word n-gram.")
    char_ngrams: tuple[int, int] = Field(default=(3, 5), description="Shortest and longest character n-gram.")
    max_chars: int = Field(default=4000, ge=50, description="Characters read of each text.")
    min_df: int = Field(default=2, ge=1, description="Training rows a term must occur in.")
    max_terms: int = Field(default=100_000, ge=100, description="Most frequent terms kept of each kind.")
    expand_contractions: bool = Field(default=True, description="Count can't as cannot, I'm as I am.")
    lexical: bool = Field(
        default=False,
        description="Add named columns: refusing phrases and their places, lists, lengths, prompt overlap.",
    )
    c: float = Field(default=4.0, gt=0, description="Inverse regularisation of logreg, svm and svc.")
    balance: Balance = Field(
        default="balanced",
        description="Class weights: none, balanced (inverse to a class's share), or adaptive: balanced, and "
        "raised for the class at fault between boosting rounds or refits (logreg, svm, svc, xgboost, lightgbm).",
    )
    controller: BalanceConfig = Field(
        default_factory=BalanceConfig, description="When and how far adaptive weights are raised."
    )
    evaluations: int = Field(
        default=20,
        ge=2,
        le=1000,
        description="Looks that adaptive weights take: parts of the boosting rounds, or refits.",
    )
    components: int = Field(default=200, ge=1, le=5000, description="Dimensions svc sees, by truncated SVD.")
    gamma: float = Field(default=1.0, gt=0, description="Narrowness of svc's kernel, for rows of length 1.")
    smoothing: float = Field(default=0.3, gt=0, description="Added to every count of nb.")
    trees: int = Field(default=300, ge=1, description="Trees of forest, boosting rounds of xgboost and lightgbm.")
    best_terms: int = Field(
        default=3000, ge=10, description="Terms kept: for trees by chi-square, for svc the heaviest."
    )
    learning_rate: float = Field(default=0.1, gt=0, le=1, description="Shrinkage of xgboost and lightgbm.")
    max_depth: int = Field(default=5, ge=1, le=32, description="Depth of xgboost's and lightgbm's trees.")
    threads: int = Field(default=0, ge=0, description="Threads of forest, xgboost and lightgbm; 0: all cores.")

    @model_validator(mode="before")
    @classmethod
    def _read_old_key(cls, value: Any) -> Any:
        """Models saved by version 0.1 have ``balanced: true`` or ``false``."""
        if not isinstance(value, dict) or "balanced" not in value:
            return value
        rest = {name: item for name, item in value.items() if name != "balanced"}
        if "balance" in rest or not isinstance(value["balanced"], bool):
            raise ValueError("balanced: is the old name of balance:, with true and false; use balance: alone")
        return rest | {"balance": "balanced" if value["balanced"] else "none"}

    @model_validator(mode="after")
    def _check_ngrams(self) -> ClassicalConfig:
        for name in ("word_ngrams", "char_ngrams"):
            low, high = getattr(self, name)
            if not 1 <= low <= high <= 8:
                raise ValueError(f"{name} must be two numbers from 1 to 8, the smaller first")
        if self.lexical and self.head not in ("logreg", "svm"):
            raise ValueError(f"lexical counts go with head logreg or svm, not {self.head}; turn one of them off")
        if self.balance == "adaptive" and self.head not in ADAPTIVE:
            raise ValueError(
                f"balance adaptive goes with head {', '.join(ADAPTIVE)}, not {self.head}; use balance: balanced"
            )
        return self
