"""The direction of refusal taken out."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.ablation._attack import AblationAttack as AblationAttack
    from demur.stress.ablation._config import AblationConfig as AblationConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AblationAttack": "_attack",
        "AblationConfig": "_config",
    },
)
