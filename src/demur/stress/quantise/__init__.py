"""Weights rounded to fewer bits."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.quantise._attack import QuantiseAttack as QuantiseAttack
    from demur.stress.quantise._config import QuantiseConfig as QuantiseConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "QuantiseAttack": "_attack",
        "QuantiseConfig": "_config",
    },
)
