"""What a training leaves: the adapter, which loads on the whole base, and on request a merged model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.llm import Target, TargetConfig, load_target
from demur.paths import replace_folder_when_done
from demur.training import quiet_transformers

if TYPE_CHECKING:
    from demur.harden._config import HardenConfig


def export_adapter(target: Target, model: Any, folder: Path) -> None:
    """Save the adapter as peft does, with the name and hash of its base.

    Parameters
    ----------
    target
        The base.
    model
        The ``PeftModel`` around it.
    folder
        Written whole or not at all.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    with replace_folder_when_done(folder, f"saving {folder.name}") as part:
        target.with_module(model).save_adapter(part)


def export_merged(base: TargetConfig, adapter: Path, folder: Path) -> None:
    """Save base and adapter as one model that plain transformers loads, with tokenizer and chat template.

    Parameters
    ----------
    base
        The base, without the adapter.
    adapter
        Folder of the adapter.
    folder
        Written whole or not at all.

    Raises
    ------
    ConfigError
        The adapter belongs to another base.
    StorageError
        The disk is full or not writable.
    """
    target = load_target(base.model_copy(update={"adapter": str(adapter), "device": "cpu"}))
    save_merged(target, folder)


def save_merged(target: Target, folder: Path) -> Any:
    """Merge a target's adapter into its weights, in place, and save the model; gives the merged module."""
    with quiet_transformers(), replace_folder_when_done(folder, f"saving {folder.name}") as part:
        merged = target.module.merge_and_unload(safe_merge=True)
        merged.save_pretrained(str(part))
        tokenizer = target.tokenizer
        tokenizer.chat_template = target.template
        tokenizer.save_pretrained(str(part))
    return merged


def unwrap_base(target: Target, config: HardenConfig, folder: Path, is_main: bool) -> Target:
    """A target without adapter: itself, or a copy whose adapter is merged and saved, so that ours has a base.

    Parameters
    ----------
    target
        As loaded.
    config
        Of the run.
    folder
        Where a merged base goes.
    is_main
        Whether this process writes.
    """
    if not target.has_adapter:
        return target
    module = save_merged(target, folder) if is_main else target.module.merge_and_unload(safe_merge=True)
    settings = config.target.model_copy(update={"model": str(folder), "adapter": None, "chat_template": None})
    return Target(module, target.tokenizer, settings, str(folder) if is_main else None)
