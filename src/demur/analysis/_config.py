"""The settings of the statistics: draws, level, power, and the size of the source check."""

from __future__ import annotations

from pydantic import Field

from demur.config import Settings


class AnalysisConfig(Settings):
    """How models are tested against each other, and the source check is run."""

    draws: int = Field(default=1000, ge=0, description="Bootstrap draws of a difference; 0 gives no intervals.")
    permutations: int = Field(
        default=9999, ge=0, description="Random swaps behind the p-value of a difference; 0 gives none."
    )
    level: float = Field(default=0.95, gt=0.5, lt=1, description="Level of intervals; 1 less it is alpha.")
    seed: int = Field(default=0, ge=0, description="Seed of all draws.")
    power: float = Field(default=0.8, gt=0.5, lt=1, description="Power of the smallest detectable difference.")
    metrics: tuple[str, ...] = Field(
        default=("custom_score", "f1_macro"), min_length=1, description="Figures models are compared in."
    )
    source_rows: int = Field(
        default=3000, ge=100, description="Most rows the check whether texts give their source away reads."
    )

    @property
    def alpha(self) -> float:
        """Share of false alarms allowed to a family of tests."""
        return round(1 - self.level, 12)
