"""The configuration of the whole loop: one target, how it is stressed, how it is hardened."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from demur.config import Settings
from demur.harden import HardenConfig
from demur.llm import TargetConfig
from demur.stress import StressConfig, StressModel

CONTROLS = ("revert", "attenuate")
"""What every defence that is an adapter must stand beside; added where the configuration leaves them out."""


class CertifyConfig(Settings):
    """Stress, harden, stress again."""

    name: str = Field(default="certify", min_length=1, description="Name of the run and of its folder.")
    target: TargetConfig = Field(default=TargetConfig(), description="The language model, for all parts.")
    stress: StressConfig = Field(description="As for demur stress, without models.")
    harden: HardenConfig = Field(description="As for demur harden, without target.")
    out: str | None = Field(default=None, description="Run folder; runs/NAME where absent.")

    @model_validator(mode="before")
    @classmethod
    def _name_once(cls, values: Any) -> Any:
        """Refuse a second target; and hand the one there is to both parts."""
        if not isinstance(values, dict):
            return values
        stress, harden = (values.get(part) for part in ("stress", "harden"))
        if isinstance(stress, dict) and "models" in stress:
            raise ValueError("stress.models is not used here; name the model once, under target")
        if isinstance(harden, dict) and "target" in harden:
            raise ValueError("harden.target is not used here; name the model once, under target")
        if isinstance(harden, dict):
            values = {**values, "harden": {**harden, "target": values.get("target", {})}}
        return values

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.harden.target != self.target:
            raise ValueError("harden.target is another model than target; name it once, under target")
        return self

    @property
    def title(self) -> str:
        """What tables call the target."""
        return StressModel(**self.target.model_dump()).title

    def plan_hardening(self) -> HardenConfig:
        """The hardening, which may not train on any row that the result is judged or measured on."""
        data, stress = self.harden.data, self.stress.data
        judged = (*data.evaluation, *stress.harmful, *stress.safe, *stress.texts)
        return self.harden.model_copy(update={"data": data.model_copy(update={"evaluation": judged})})

    def plan_stress(self, model: str | None = None, defended: str | None = None) -> StressConfig:
        """The grid of the base alone, or of both with the controls of a defence.

        Parameters
        ----------
        model
            The base; the target's own, with its adapter, where None.
        defended
            Folder of the defence's adapter.
        """
        given = self.target.model_dump() | ({"model": model, "adapter": None} if model else {})
        one = StressModel(**given, name=self.title, defended=defended)
        controls: dict[str, Any] = {name: {} for name in CONTROLS if defended and name not in self.stress.attacks}
        attacks = {**self.stress.attacks, **controls}
        if not defended:
            attacks = {name: value for name, value in attacks.items() if name not in CONTROLS}
        return self.stress.model_copy(update={"models": (one,), "attacks": attacks, "name": self.name})
