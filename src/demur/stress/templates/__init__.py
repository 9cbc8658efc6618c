"""Fixed wrappings of a request."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.templates._attack import TemplatesAttack as TemplatesAttack
    from demur.stress.templates._config import TemplatesConfig as TemplatesConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "TemplatesAttack": "_attack",
        "TemplatesConfig": "_config",
    },
)
