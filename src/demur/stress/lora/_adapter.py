"""A LoRA adapter put around a target for an attack, and taken off again without a trace."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.errors import ConfigError, require, translate_os_error
from demur.llm import Target
from demur.stress._tune import Tuned
from demur.stress.lora._config import LoraConfig

NAME = "attack"
"""The adapter's name where the target has one of its own."""


@contextmanager
def put_lora(target: Target, config: LoraConfig, seed: int) -> Iterator[Tuned]:
    """Put a fresh adapter around a target for a block; on top of the one it has, which stays as it is.

    Parameters
    ----------
    target
        Its module has its own layers and flags back after the block.
    config
        Rank, scale, places.
    seed
        Draws the first weights.

    Raises
    ------
    ConfigError
        The model has no layer of the names asked for.
    MissingDependencyError
        peft is not installed.
    """
    require("peft", extra="llm")
    from demur.training import quiet_transformers, seeded

    flags = [(one, one.requires_grad) for one in target.module.parameters()]
    name = NAME if target.has_adapter else "default"
    try:
        with quiet_transformers(), seeded(seed):
            module = _attach(target, config, name)
        try:
            yield _describe(target.with_module(module), config, name, seed)
        finally:
            _take_off(target, module, name)
    finally:
        for one, flag in flags:
            one.requires_grad_(flag)


def _attach(target: Target, config: LoraConfig, name: str) -> Any:
    import peft

    modules = config.modules if isinstance(config.modules, str) else list(config.modules)
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.scale * config.rank, target_modules=modules, task_type="CAUSAL_LM"
    )
    try:
        if not target.has_adapter:
            return peft.get_peft_model(target.module, settings, adapter_name=name).eval()
        own = list(target.module.active_adapters)
        target.module.add_adapter(name, settings)
    except ValueError as error:
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"LoRA cannot be put on '{target.name}' ({reason}); give modules that the model has, or all-linear",
            key="modules",
        ) from error
    target.module.base_model.set_adapter([*own, name])
    for key, one in target.module.named_parameters():
        one.requires_grad_(_is_of(key, name))
    return target.module.eval()


def _take_off(target: Target, module: Any, name: str) -> None:
    if name == "default":
        module.unload()
        return
    own = [one for one in module.base_model.active_adapters if one != name]
    module.base_model.set_adapter(own, inference_mode=True)
    with warnings.catch_warnings():
        # It tells which adapter is active now, which was settled before.
        warnings.simplefilter("ignore")
        module.delete_adapter(name)


def _describe(target: Target, config: LoraConfig, name: str, seed: int) -> Tuned:
    parameters = {key: one for key, one in target.module.named_parameters() if _is_of(key, name)}

    def save(folder: Path) -> None:
        if name == "default":
            target.save_adapter(folder)
        else:
            _save_on_top(target.module, folder, name)

    def load(folder: Path) -> None:
        import torch
        from safetensors.torch import load_file

        inside = folder if name == "default" else folder / name
        found = load_file(inside / "adapter_model.safetensors")
        with torch.no_grad():
            for key, one in parameters.items():
                # peft leaves the adapter's name out of the names it saves.
                one.copy_(found[key.replace(f".{name}.", ".")])

    facts = (config.rank, config.scale, config.modules, seed)
    return Tuned(target, parameters, "adapter", config.learning_rate, save, load, facts)


def _save_on_top(module: Any, folder: Path, name: str) -> None:
    from demur.paths import full_disk_as_os_error

    try:
        with full_disk_as_os_error():
            folder.mkdir(parents=True, exist_ok=True)
            module.save_pretrained(str(folder), selected_adapters=[name], save_embedding_layers=False)
    except OSError as error:
        raise translate_os_error(error, f"saving the adapter {folder.name}") from error


def _is_of(key: str, name: str) -> bool:
    return ".lora_" in key and f".{name}." in key


def update_norms(parameters: Mapping[str, Any], scale: float) -> dict[str, float]:
    """Frobenius norm of the update of each layer, without forming it: ||BA||² is the sum of (BᵀB) * (AAᵀ).

    Parameters
    ----------
    parameters
        Trained ones by name, as :func:`put_lora` gives them.
    scale
        The update's factor.
    """
    firsts = {key.split(".lora_A.")[0]: one for key, one in parameters.items() if ".lora_A." in key}
    seconds = {key.split(".lora_B.")[0]: one for key, one in parameters.items() if ".lora_B." in key}
    found = {}
    for layer, first in firsts.items():
        a, b = first.detach().double(), seconds[layer].detach().double()  # (r, d_in), (d_out, r)
        squared = ((b.T @ b) * (a @ a.T)).sum().clamp(min=0)
        found[layer] = scale * float(squared.sqrt())
    return found
