"""A defence turned down."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.attenuate._attack import AttenuateAttack as AttenuateAttack
    from demur.stress.attenuate._config import AttenuateConfig as AttenuateConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AttenuateAttack": "_attack",
        "AttenuateConfig": "_config",
    },
)
