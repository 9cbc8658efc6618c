"""Fine-tuning of all weights."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.full._attack import FullAttack as FullAttack
    from demur.stress.full._config import FullConfig as FullConfig

__getattr__, __dir__, __all__ = attach(__name__, {"FullAttack": "_attack", "FullConfig": "_config"})
