"""Vectors beside the request that no text has."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.soft_prompt._attack import SoftPromptAttack as SoftPromptAttack
    from demur.stress.soft_prompt._config import SoftPromptConfig as SoftPromptConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "SoftPromptAttack": "_attack",
        "SoftPromptConfig": "_config",
    },
)
