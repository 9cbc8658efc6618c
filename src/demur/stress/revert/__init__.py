"""Back to the undefended model."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.revert._attack import RevertAttack as RevertAttack
    from demur.stress.revert._config import RevertConfig as RevertConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "RevertAttack": "_attack",
        "RevertConfig": "_config",
    },
)
