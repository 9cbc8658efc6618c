"""Low-rank adaptation: changes put beside a model's linear layers, and merged into them when trained.

References
----------
Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

from __future__ import annotations

from typing import Any

from demur.errors import ConfigError, require
from demur.models.transformer._config import LoraSettings


def add_lora(encoder: Any, settings: LoraSettings) -> Any:
    """Put trainable changes beside the linear layers of a transformers model, in place; all else is frozen.

    Returns
    -------
    peft.LoraModel
        Give it to :func:`merge_lora`.

    Raises
    ------
    ConfigError
        No layer has a name among ``targets``.
    MissingDependencyError
        peft is not installed.
    """
    peft = require("peft", extra="llm")
    asked = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets) or "all-linear",
    )
    try:
        return peft.LoraModel(encoder, asked, "default")
    except ValueError as error:
        import torch

        names = {
            name.rsplit(".", 1)[-1] for name, part in encoder.named_modules() if isinstance(part, torch.nn.Linear)
        }
        raise ConfigError(
            f"lora.targets {list(settings.targets)} names no layer of the {encoder.config.model_type} model "
            f"(its linear layers: {', '.join(sorted(names))}); give some of these, or leave it empty",
            key="lora.targets",
        ) from error


def merge_lora(tuner: Any) -> None:
    """Add the changes to the weights they stand beside, in place, and take the adapters away.

    Done on the CPU, so that the same changes give the same weights on every machine.
    """
    tuner.cpu()
    tuner.merge_and_unload()
