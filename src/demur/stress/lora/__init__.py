"""LoRA fine-tuning on compliance data, poisoned data, benign data, or under a persona."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress.lora._adapter import put_lora as put_lora
    from demur.stress.lora._adapter import update_norms as update_norms
    from demur.stress.lora._attack import LoraAttack as LoraAttack
    from demur.stress.lora._config import LoraConfig as LoraConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {"LoraAttack": "_attack", "LoraConfig": "_config", "put_lora": "_adapter", "update_norms": "_adapter"},
)
