"""The cells of a grid: every model, without and with its defence, under every attack, for every seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import TypeAdapter, ValidationError

from demur.config import Settings
from demur.errors import ConfigError
from demur.stress._attacks import ATTACKS, make_attack
from demur.stress._config import StressConfig, StressModel
from demur.stress._protocol import Attack, Material

UNTOUCHED = "direct"
"""The attack that changes nothing, which every model is asked under."""


@dataclass(frozen=True)
class Job:
    """One cell."""

    model: StressModel
    is_defended: bool
    attack: str
    settings: Mapping[str, Any]
    """All of the attack's, as plain values."""
    seed: int

    @property
    def is_base(self) -> bool:
        """Whether this is the untampered base, which the others are compared with."""
        return self.attack == UNTOUCHED and not self.is_defended

    @property
    def title(self) -> str:
        """One line for people."""
        shown = {name: self.settings.get(name) for name in ("data", "rank", "learning_rate")}
        parts = [f"{name.replace('learning_', '')} {value}" for name, value in shown.items() if value is not None]
        model = f"{self.model.title}{' defended' if self.is_defended else ''}"
        return " · ".join([model, self.attack, *parts, f"seed {self.seed}"])

    def make_attack(self) -> Attack[Any]:
        """The attack with its settings."""
        return make_attack(self.attack, self.settings)


def expand_attacks(config: StressConfig) -> list[Attack[Any]]:
    """Every attack with every combination of its settings; the untouched model first.

    Parameters
    ----------
    config
        Its attacks. A setting that takes one value and is given a list is varied over it.

    Raises
    ------
    RegistryError
        No attack has that name.
    ConfigError
        A setting is unknown or off.
    """
    found = [make_attack(UNTOUCHED)]
    for name, given in config.attacks.items():
        kind = ATTACKS.get(name).config_type
        for values in given if isinstance(given, list) else [given]:
            varied = {key: one for key, one in values.items() if _is_varied(kind, key, one)}
            if empty := [key for key, one in varied.items() if not one]:
                raise ConfigError(
                    f"the attack '{name}' has an empty list for '{empty[0]}'; give at least one value",
                    key=f"attacks.{name}.{empty[0]}",
                )
            for chosen in product(*varied.values()):
                attack = make_attack(name, {**values, **dict(zip(varied, chosen, strict=True))})
                found += [] if any(_same(attack, one) for one in found) else [attack]
    return found


def plan_jobs(config: StressConfig, material: Material) -> list[Job]:
    """All cells, those first that others are compared with.

    Parameters
    ----------
    config
        Models, attacks, seeds.
    material
        What attacks may use; they refuse what they cannot do without.

    Raises
    ------
    RegistryError, ConfigError
        As for :func:`expand_attacks`.
    UsageError
        An attack lacks data.
    """
    attacks = expand_attacks(config)
    for attack in attacks:
        attack.check_material(material)
    jobs = [
        Job(model, is_defended, attack.name, attack.config.model_dump(mode="json"), seed)
        for model in config.models
        for is_defended in ((False, True) if model.defended else (False,))
        for attack in attacks
        if is_defended or not (model.defended and attack.on_defences)
        for seed in config.seeds
    ]
    return sorted(jobs, key=lambda job: (list(config.models).index(job.model), not job.is_base))


def _is_varied(kind: type[Settings], key: str, value: Any) -> bool:
    """Whether a list was given where one value belongs."""
    field = kind.model_fields.get(key)
    if field is None or not isinstance(value, list):
        return False
    try:
        TypeAdapter(Any if field.annotation is None else field.annotation).validate_python(value)
    except ValidationError:
        return True
    return False


def _same(first: Attack[Any], second: Attack[Any]) -> bool:
    return first.name == second.name and first.config == second.config
