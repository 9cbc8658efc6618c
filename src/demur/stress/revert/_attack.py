"""The control that every defence of an open model needs: what the undefended model does, at no cost.

A defence that is an adapter is taken off; one that is merged is undone by fetching the public base again. Neither
needs a computation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from demur.errors import UsageError
from demur.llm import Target
from demur.stress._protocol import Access, Attack, Cost, Setting, Stage
from demur.stress.revert._config import RevertConfig


class RevertAttack(Attack[RevertConfig]):
    """The adapter off, or the base in the target's place."""

    name = "revert"
    access: ClassVar[Access] = "weights"
    title = "The defence is taken off, which whoever holds the weights can do."
    on_defences = True
    config_type = RevertConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        if target.has_adapter:
            with target.without_adapter() as bare:
                yield Stage(bare, 0, Cost(), notes={"by": "adapter off"})
        elif setting.base is not None:
            yield Stage(setting.base, 0, Cost(), notes={"by": "base"})
        else:
            raise UsageError(
                f"there is nothing to go back to from '{target.name}': it has no adapter, and no base is given; "
                "give the undefended model, or leave the attack 'revert' out"
            )
