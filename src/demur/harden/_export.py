"""What a training leaves: the adapter, which loads on the whole base, and on request a merged model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import translate_os_error
from demur.llm import Target, TargetConfig, load_target
from demur.training import full_disk_as_os_error, quiet_transformers

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
    with whole_folder(folder) as part:
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
    with quiet_transformers(), whole_folder(folder) as part:
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


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside ``folder`` that takes its place when the block ends well.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    part: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        with full_disk_as_os_error():
            yield part
        part.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        raise translate_os_error(error, f"saving {folder.name}") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
