"""Which engines and types a breaker can be trained with; the others are refused before anything is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from demur.errors import ConfigError, TrainingError
from demur.harden._config import HardenConfig

_ON = {"1", "true", "yes", "on"}


def check_engine(environ: Mapping[str, str] | None = None) -> None:
    """Refuse engines whose weights are in pieces; ``accelerate launch`` names its engine in the environment.

    Validations and checkpoints read the adapters whole, and the base pass calls the decoder past the engine's own
    wrapper, which alone would put the pieces together.

    Parameters
    ----------
    environ
        The process's own where None.

    Raises
    ------
    TrainingError
        It is FSDP, or DeepSpeed's ZeRO-3.
    """
    given = os.environ if environ is None else environ
    if given.get("ACCELERATE_USE_FSDP", "").lower() in _ON:
        raise TrainingError(
            "FSDP keeps every weight in pieces, and demur harden needs the base whole on each GPU; choose plain "
            "multi-GPU in accelerate config (or torchrun), DeepSpeed's ZeRO-1 or 2, or a smaller model"
        )
    if given.get("ACCELERATE_USE_DEEPSPEED", "").lower() in _ON and _zero_stage(given) == "3":
        raise TrainingError(
            "DeepSpeed's ZeRO-3 keeps every weight in pieces, and demur harden needs the base whole on each GPU; "
            "set zero_stage to 1 or 2 in accelerate config, or choose data parallelism"
        )


def _zero_stage(given: Mapping[str, str]) -> str:
    """As DeepSpeed's own file says, or accelerate's settings."""
    stage = given.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    try:
        own = json.loads(Path(given.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")).read_text(encoding="utf-8"))
        return str(own["zero_optimization"]["stage"])
    except (OSError, ValueError, KeyError, TypeError):
        # No file, or one that DeepSpeed itself will speak of.
        return stage


def check_types(config: HardenConfig) -> None:
    """Refuse types that a breaker cannot be trained in here.

    Raises
    ------
    ConfigError
        The weights are to be fp16, or bf16 is asked for on a GPU that has none.
    """
    import torch

    if config.target.dtype == "fp16" or os.environ.get("ACCELERATE_MIXED_PRECISION") == "fp16":
        raise ConfigError(
            "a breaker cannot be trained in fp16: states of some models exceed its range and gradients vanish; "
            "set target.dtype: bf16 where the GPU has it, else fp32 (the adapter also loads on the model in fp16)",
            key="target.dtype",
        )
    on_gpu = config.target.device != "cpu" and torch.cuda.is_available()
    if config.precision == "bf16" and on_gpu and not torch.cuda.is_bf16_supported():
        raise ConfigError("this GPU has no bf16; set precision: fp32", key="precision")
