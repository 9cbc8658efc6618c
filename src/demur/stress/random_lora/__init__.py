"""The control by a LoRA of equal norm."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.random_lora._attack import RandomLoraAttack as RandomLoraAttack
    from demur.stress.random_lora._config import RandomLoraConfig as RandomLoraConfig

__getattr__, __dir__, __all__ = attach(__name__, {"RandomLoraAttack": "_attack", "RandomLoraConfig": "_config"})
