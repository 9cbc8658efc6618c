"""Which engines and types a breaker can be trained with; the others are refused before anything is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from demur.errors import ConfigError, TrainingError
from demur.harden._config import HardenConfig

_ON = {"1", "true", "yes", "on"}
_FSDP2 = "choose FSDP2 (fsdp_version: 2 in accelerate config)"
_NOT_FSDP2 = {
    "fsdp_activation_checkpointing": "wraps the blocks whose states are watched; set it to false in accelerate "
    "config, and gradient_checkpointing: on for the run",
    "fsdp_offload_params": "keeps weights on the CPU, where measuring KL does not expect them; set it to false in "
    "accelerate config, and take more GPUs where memory does not suffice",
}
"""What FSDP2 can do and a breaker cannot be trained with, as accelerate's settings call it, and why not."""
_SHARED_ROWS = ("TP", "CP", "SP")


def check_engine(environ: Mapping[str, str] | None = None) -> None:
    """Refuse engines a breaker cannot be trained with; ``accelerate launch`` names its own in the environment.

    Parameters
    ----------
    environ
        The process's own where None.

    Raises
    ------
    TrainingError
        It is FSDP in its first version, DeepSpeed's ZeRO-3, FSDP2 with parts on the CPU or with activation
        checkpointing of its own, or one that shares a row between processes.
    """
    given = os.environ if environ is None else environ
    if _is_on(given, "ACCELERATE_USE_FSDP"):
        _check_fsdp(given)
    if _is_on(given, "ACCELERATE_USE_DEEPSPEED") and _zero_stage(given) == "3":
        raise TrainingError(
            "DeepSpeed's ZeRO-3 keeps every weight in pieces that demur harden cannot put together; set "
            f"zero_stage to 1 or 2 in accelerate config, or where the base does not fit a GPU {_FSDP2}"
        )
    if _is_on(given, "ACCELERATE_USE_PARALLELISM_CONFIG"):
        _check_parallelism(given)


def _check_fsdp(given: Mapping[str, str]) -> None:
    if given.get("FSDP_VERSION", "1") != "2":
        raise TrainingError(
            "FSDP in its first version hides the adapters, so that the base pass would not turn them off; "
            f"{_FSDP2}, or plain multi-GPU where the base fits a GPU"
        )
    for name, reason in _NOT_FSDP2.items():
        if _is_on(given, name.upper()):
            raise TrainingError(f"{name} {reason}")


def _check_parallelism(given: Mapping[str, str]) -> None:
    for kind in _SHARED_ROWS:
        if given.get(f"PARALLELISM_CONFIG_{kind}_SIZE", "1") != "1":
            raise TrainingError(
                f"the parallelism of accelerate config shares a row between processes ({kind.lower()}_size), and "
                f"demur harden gives each process rows of its own; set it to 1, or {_FSDP2}"
            )


def _is_on(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "").lower() in _ON


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
