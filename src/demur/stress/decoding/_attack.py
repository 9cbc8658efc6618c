"""Answers drawn in other ways than the model's owner had in mind, and the most compliant of several.

References
----------
Huang et al., "Catastrophic Jailbreak of Open-source LLMs via Exploiting Generation", ICLR 2024, section 4;
Hughes et al., "Best-of-N Jailbreaking", 2024.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from demur.llm import Target
from demur.stress._protocol import Access, Attack, Cost, Setting, Stage
from demur.stress.decoding._config import DecodingConfig


class DecodingAttack(Attack[DecodingConfig]):
    """Temperatures, restrictions to the likeliest tokens, and several tries."""

    name = "decoding"
    access: ClassVar[Access] = "decoding"
    title = "Answers are drawn at random in many ways, several for each request."
    config_type = DecodingConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        for label, tries, changes in self._grid():
            # The evaluation's length and batch stay; what is drawn depends on the seed of the attack.
            generation = setting.generation.model_copy(
                update={"top_p": 1.0, "top_k": 0, "seed": setting.seed} | changes
            )
            yield Stage(target, 0, Cost(queries=tries), label=label, generation=generation, tries=tries)

    def _grid(self) -> Iterator[tuple[str, int, dict[str, Any]]]:
        for temperature in sorted(set(self.config.temperatures)):
            name = f"temperature={temperature:g}"
            yield name, 1, {"temperature": temperature}
            for share in self.config.top_p:
                yield f"{name},top_p={share:g}", 1, {"temperature": temperature, "top_p": share}
            for count in self.config.top_k:
                yield f"{name},top_k={count}", 1, {"temperature": temperature, "top_k": count}
        for tries in sorted(set(self.config.best_of)):
            warm = self.config.best_of_temperature
            yield f"temperature={warm:g},best_of={tries}", tries, {"temperature": warm}
