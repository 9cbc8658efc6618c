"""The dual family: one encoder pass that answers several tasks."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.models.dual._config import DualConfig as DualConfig
    from demur.models.dual._model import DualClassifier as DualClassifier

__getattr__, __dir__, __all__ = attach(__name__, {"DualClassifier": "_model", "DualConfig": "_config"})
