"""Settings of a search for the best settings of a model; what runs it stands in ``_search``."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from demur.config import Settings

Method = Literal["auto", "grid", "optuna"]
Pruner = Literal["none", "median", "third", "halving"]
UNKEYED = {"jobs"}
"""Settings of a search that change nothing it finds, and so are no part of what a fit depends on."""


class Dimension(Settings):
    """The values one setting may take in a search: a list of them, or a range."""

    choices: tuple[Any, ...] = Field(default=(), description="The values to try; a list alone means the same.")
    low: float | None = Field(default=None, description="Smallest value of a range.")
    high: float | None = Field(default=None, description="Largest value of a range.")
    log: bool = Field(default=False, description="Draw from the range by its logarithm.")
    int: bool = Field(default=False, description="Whole numbers only.")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, value: Any) -> Any:
        return {"choices": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _check(self) -> Dimension:
        low, high = self.low, self.high
        if self.choices:
            if low is not None or high is not None or self.log or self.int:
                raise ValueError("give either choices, or low and high; not both")
            repeats = [one for at, one in enumerate(self.choices) if _is_in(one, self.choices[:at])]
            if repeats:
                raise ValueError(f"the choice {repeats[0]!r} stands there twice; give each value once")
            return self
        if low is None or high is None:
            raise ValueError("a setting to search needs choices: [...], or low: and high:")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"low ({low:g}) must be a number below high ({high:g})")
        if self.log and low <= 0:
            raise ValueError(f"low ({low:g}) must be above 0 where log is on")
        if self.int and not (low.is_integer() and high.is_integer()):
            raise ValueError(f"low ({low:g}) and high ({high:g}) must be whole numbers where int is on")
        return self


class SearchConfig(Settings):
    """A search for the best settings of one model, on its training rows alone."""

    method: Method = Field(
        default="auto",
        description="grid (every combination), optuna (TPE), or auto: grid where all are choices and the "
        "combinations are no more than trials, else optuna.",
    )
    space: dict[str, Dimension] = Field(
        default_factory=dict,
        description="Dotted setting to a list of choices or a range; empty: what the family suggests.",
    )
    trials: int = Field(default=20, ge=1, le=10_000, description="Settings tried by optuna.")
    folds: int = Field(default=3, ge=2, le=20, description="Grouped folds of the training rows each is tried on.")
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds after which no further trial begins; what came out then depends on the machine.",
    )
    pruner: Pruner = Field(
        default="third",
        description="What ends a poor trial of optuna early, after each fold and validation: median, third (not "
        "among the best half or third of the trials that were complete), halving (successive), none.",
    )
    metric: str = Field(default="custom_score", description="What is made best; see demur.metrics.")
    nested: bool = Field(
        default=True,
        description="Search again inside every fold of cv and leave-one-out; else they take what the main fit "
        "found, which has seen their test rows.",
    )
    jobs: int = Field(
        default=1, ge=1, le=256, description="Processes of a grid; only families that do not train in steps."
    )
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1, description="Seed; default that of the fit.")

    @field_validator("space")
    @classmethod
    def _check_names(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        for name in space:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"'{name}' is no dotted name of a setting, such as train.learning_rate")
        return space

    @model_validator(mode="after")
    def _check_grid(self) -> SearchConfig:
        ranges = sorted(name for name, found in self.space.items() if not found.choices)
        if self.method == "grid" and ranges:
            raise ValueError(
                f"a grid needs choices, and {', '.join(ranges)} has a range; list its values or use method: optuna"
            )
        return self


def _is_in(value: Any, others: tuple[Any, ...]) -> bool:
    """Whether a value is among others, where True is not 1 and 1.0 is not 1."""
    return any(value == other and type(value) is type(other) for other in others)
