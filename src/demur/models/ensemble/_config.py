"""Settings of the ensemble family."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from demur.config import Settings
from demur.errors import ConfigError, RegistryError
from demur.models._base import BaseClassifier
from demur.models._presets import find_family

FAMILY = "ensemble"
CHEAP = ("tfidf_lexical", "minilm_hybrid", "tfidf_forest")
"""Members that look at other things, and share what is counted of the texts."""


class MemberSpec(Settings):
    """One member: a preset or a family, with settings of its own; a name alone is a preset's."""

    preset: str | None = Field(default=None, description="Named settings to start from.")
    family: str | None = Field(default=None, description="The family, where no preset is named.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings of the family; they go first.")

    @model_validator(mode="before")
    @classmethod
    def _read_name(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> MemberSpec:
        if (self.preset is None) == (self.family is None):
            raise ValueError("a member takes either preset or family; give one of them")
        return self

    @property
    def name(self) -> str:
        """The preset's or the family's name."""
        return str(self.preset or self.family)


class EnsembleConfig(Settings):
    """Members, and how their answers become one."""

    members: tuple[MemberSpec, ...] = Field(
        default=tuple(MemberSpec(preset=name) for name in CHEAP),
        min_length=2,
        max_length=20,
        description="Presets by name, or mappings of preset or family and settings.",
    )
    method: Literal["soft", "hard", "weighted", "stacking"] = Field(
        default="soft",
        description="soft: mean probability; hard: share of votes; weighted: mean by weights found out of fold; "
        "stacking: a logistic regression on out-of-fold probabilities.",
    )
    folds: int = Field(
        default=5, ge=2, le=20, description="Grouped folds of weighted and stacking; each fits every member anew."
    )
    weigh_by: Literal["log_loss", "security_score"] = Field(
        default="log_loss", description="What the weights of weighted are best in."
    )
    c: float = Field(default=1.0, gt=0, description="Inverse regularisation of stacking's regression.")
    balanced: bool = Field(default=True, description="Stacking weighs classes by the inverse of their share.")

    @model_validator(mode="after")
    def _check(self) -> EnsembleConfig:
        known: dict[str, int] = {}
        for number, spec in enumerate(self.members, start=1):
            family, settings = self._resolve(number, spec)
            if family.family == FAMILY:
                raise ValueError(
                    f"member {number} ('{spec.name}') is itself an ensemble; name its members instead"
                )
            key = f"{family.family} {settings.model_dump_json()}"
            if key in known:
                raise ValueError(
                    f"members {known[key]} and {number} ('{spec.name}') are the same, which would count one "
                    "opinion twice; give one of them other settings or take it out"
                )
            known[key] = number
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each member, numbered where several would have the same."""
        plain = [spec.name for spec in self.members]
        return tuple(
            f"{name}-{plain[: number + 1].count(name)}" if plain.count(name) > 1 else name
            for number, name in enumerate(plain)
        )

    @staticmethod
    def _resolve(number: int, spec: MemberSpec) -> tuple[type[BaseClassifier[Any]], Settings]:
        try:
            return resolve_member(spec)
        except (RegistryError, ConfigError) as error:
            raise ValueError(f"member {number}: {error}") from None


def resolve_member(spec: MemberSpec) -> tuple[type[BaseClassifier[Any]], Settings]:
    """Family and checked settings of a member.

    Raises
    ------
    RegistryError
        No such preset or family is registered.
    ConfigError
        A setting is unknown or off.
    """
    return find_family(spec.preset, spec.family, spec.settings, f"'{spec.name}'")
