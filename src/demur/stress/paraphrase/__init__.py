"""The request in other words."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.paraphrase._attack import ParaphraseAttack as ParaphraseAttack
    from demur.stress.paraphrase._config import ParaphraseConfig as ParaphraseConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ParaphraseAttack": "_attack",
        "ParaphraseConfig": "_config",
    },
)
