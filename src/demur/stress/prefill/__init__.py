"""Answers begun by the attacker."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.prefill._attack import PrefillAttack as PrefillAttack
    from demur.stress.prefill._config import PrefillConfig as PrefillConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "PrefillAttack": "_attack",
        "PrefillConfig": "_config",
    },
)
