"""The baseline of every other attack: the prompts as they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from demur.llm import Target
from demur.stress._protocol import Access, Attack, Cost, Setting, Stage
from demur.stress.direct._config import DirectConfig


class DirectAttack(Attack[DirectConfig]):
    """The untouched target."""

    name = "direct"
    access: ClassVar[Access] = "prompt"
    title = "The model is asked as it is."
    config_type = DirectConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        yield Stage(target, 0, Cost())
