"""Compliant turns before the request."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.few_shot._attack import FewShotAttack as FewShotAttack
    from demur.stress.few_shot._config import FewShotConfig as FewShotConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "FewShotAttack": "_attack",
        "FewShotConfig": "_config",
    },
)
