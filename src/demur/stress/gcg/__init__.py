"""A suffix of tokens found by gradients."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.gcg._attack import GcgAttack as GcgAttack
    from demur.stress.gcg._config import GcgConfig as GcgConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "GcgAttack": "_attack",
        "GcgConfig": "_config",
    },
)
