"""Answers drawn in other ways, and the most compliant of several."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.decoding._attack import DecodingAttack as DecodingAttack
    from demur.stress.decoding._config import DecodingConfig as DecodingConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DecodingAttack": "_attack",
        "DecodingConfig": "_config",
    },
)
