"""The untouched target."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.direct._attack import DirectAttack as DirectAttack
    from demur.stress.direct._config import DirectConfig as DirectConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DirectAttack": "_attack",
        "DirectConfig": "_config",
    },
)
