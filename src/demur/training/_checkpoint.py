"""Checkpoints of a training: which one to go on from, and the weights in it.

A checkpoint is a folder ``checkpoint-STEP`` as ``transformers.Trainer`` writes it, except that its weights are
those that training changes: of a model tuned with LoRA, the adapters alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import TrainingError, require
from demur.paths import write_json
from demur.training._data import TokenDataset

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHTS_FILE = "model.safetensors"


def prepare_folder(folder: Path, fingerprint: str) -> Path | None:
    """Return the newest whole checkpoint of this very training, or empty the folder of other ones.

    A checkpoint is whole when its ``trainer_state.json``, which is written last, can be read.
    """
    mark = folder / "training.json"
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    if (_read_mapping(mark) or {}).get("fingerprint") != fingerprint:
        for path in checkpoints:
            shutil.rmtree(path)
        write_json(mark, {"fingerprint": fingerprint})
        return None
    whole = None
    for path in checkpoints:
        if read_state(path) is None:
            shutil.rmtree(path)
        else:
            whole = path
    if whole is not None:
        _follow_move(whole)
    return whole


def read_state(checkpoint: Path) -> dict[str, Any] | None:
    """The trainer's state in a checkpoint, or None where it is absent or cut off."""
    return _read_mapping(checkpoint / "trainer_state.json")


def _read_mapping(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _follow_move(checkpoint: Path) -> None:
    """The trainer remembers the best checkpoint by its whole path, which is another where the folder was moved."""
    state = read_state(checkpoint) or {}
    best = state.get("best_model_checkpoint")
    if best and Path(best).parent != checkpoint.parent:
        state["best_model_checkpoint"] = str(checkpoint.parent / Path(best).name)
        write_json(checkpoint / "trainer_state.json", state)


def is_patience_spent(history: list[dict[str, Any]], patience: int) -> bool:
    """Whether the last ``patience`` validations of a trainer's log all failed to beat the best one before.

    A validation whose figure is NaN beats nothing.
    """
    found = [row.get("eval_choice", row["eval_score"]) for row in history if "eval_score" in row]
    if not found:
        return False
    choices = np.array(found, dtype=np.float64)
    choices[np.isnan(choices)] = -np.inf
    return len(choices) - 1 - int(np.argmax(choices)) >= patience


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the weights that training changes, and buffers such as running means."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in _changing(module).items()}
    save_file(tensors, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy back what :func:`save_weights` wrote.

    Raises
    ------
    TrainingError
        The file is of another module; empty the checkpoint folder.
    """
    torch = require("torch", extra="torch")
    from safetensors.torch import load_file

    found, wanted = load_file(path), _changing(module)
    differing = sorted(found.keys() ^ wanted.keys())
    if differing:
        raise TrainingError(
            f"the checkpoint {path.parent.name} holds other weights than the model trains "
            f"(first: '{differing[0]}'); delete its folder to start over"
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])


def _changing(module: nn.Module) -> dict[str, torch.Tensor]:
    kept = module.state_dict().keys()
    return {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad} | {
        name: tensor for name, tensor in module.named_buffers() if name in kept
    }


def fingerprint_training(
    module: nn.Module, train: TokenDataset, valid: TokenDataset | None, settings: dict[str, Any]
) -> str:
    """A hash of what decides a training's course: rows, settings, the module and where its weights start."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for dataset in (train, valid):
        for part in _parts_of(dataset):
            digest.update(b"|")
            digest.update(np.ascontiguousarray(part).data)
    digest.update(str(module).encode())
    for name, tensor in module.named_parameters():
        few = tensor.detach().flatten()[:: max(1, tensor.numel() // 64)].float().cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.requires_grad}".encode())
        digest.update(few.tobytes())
    return digest.hexdigest()


def _parts_of(dataset: TokenDataset | None) -> list[NDArray[Any]]:
    if dataset is None:
        return []
    parts: list[NDArray[Any]] = [dataset.targets, dataset.lengths, *dataset.rows.ids]
    return parts if dataset.soft is None else [*parts, dataset.soft]
