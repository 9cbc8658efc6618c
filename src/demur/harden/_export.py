"""What a training leaves: the adapter, which loads on the whole base, and on request a merged model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from demur.harden._sharded import gather
from demur.llm import Target, TargetConfig, full_memory_as_error, load_target
from demur.paths import replace_folder_when_done, write_json
from demur.training import quiet_transformers

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from demur.harden._module import BreakerModule

_SOURCE = "demur_source.json"
"""Beside a merged base: the hash of what was merged."""
_REMEDY = "merge on a machine with memory for the whole model, or leave merged out: the adapter is saved already"


def export_adapter(target: Target, module: BreakerModule, folder: Path, is_writer: bool = True) -> None:
    """Save the adapter as peft does, with the name and hash of its base.

    Parameters
    ----------
    target
        The base.
    module
        The breaker around it; where it is split all processes must call this.
    folder
        Written whole or not at all.
    is_writer
        Whether this process writes it.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    weights = {name: gather(one) for name, one in module.model.named_parameters() if one.requires_grad}
    if is_writer:
        with replace_folder_when_done(folder, f"saving {folder.name}") as part:
            target.with_module(module.model).save_adapter(part, weights)


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
    NoMemoryError
        The model does not fit the memory.
    StorageError
        The disk is full or not writable.
    """
    target = load_target(base.model_copy(update={"adapter": str(adapter), "device": "cpu"}))
    save_merged(target, folder)


def save_merged(target: Target, folder: Path) -> None:
    """Merge a target's adapter into its weights, in place, and save the model with its tokenizer and template.

    Parameters
    ----------
    target
        With an adapter; of no use afterwards.
    folder
        Written whole or not at all; it also gets the fingerprint of the target.
    """
    source = target.fingerprint
    with (
        full_memory_as_error("merging the adapter", _REMEDY),
        quiet_transformers(),
        replace_folder_when_done(folder, f"saving {folder.name}") as part,
    ):
        merged = target.module.merge_and_unload(safe_merge=True)
        merged.save_pretrained(str(part))
        tokenizer = target.tokenizer
        tokenizer.chat_template = target.template
        tokenizer.save_pretrained(str(part))
        write_json(part / _SOURCE, {"target": source})


def unwrap_base(config: TargetConfig, folder: Path, arguments: TrainingArguments) -> TargetConfig:
    """Settings of a target without adapter: these, or those of a copy whose adapter is merged, to stand on.

    Parameters
    ----------
    config
        Of the target.
    folder
        Where a merged base goes; one that is there of the same target is kept.
    arguments
        Know the other processes: one of each machine writes, and all read what it wrote.

    Raises
    ------
    ConfigError
        The adapter belongs to another base.
    NoMemoryError, StorageError
        Memory or disk ran out.
    """
    if config.adapter is None:
        return config
    with arguments.main_process_first(desc="merging the target's own adapter"):
        if arguments.local_process_index == 0:
            target = load_target(config)
            if _read_source(folder) != target.fingerprint:
                save_merged(target, folder)
    return config.model_copy(update={"model": str(folder), "adapter": None, "chat_template": None})


def _read_source(folder: Path) -> str | None:
    try:
        found: str = json.loads((folder / _SOURCE).read_text(encoding="utf-8"))["target"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found
