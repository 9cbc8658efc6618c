"""Saved models that hold only what training changed: adapters and head, and the base model's name and hash.

Imported only inside functions, since it needs torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from demur.errors import ArtifactError, ConfigError
from demur.models._encoder import resolve_model
from demur.models.transformer._config import TransformerConfig
from demur.models.transformer._lora import add_lora, merge_lora
from demur.models.transformer._module import build_module, encoder_of, name_labels
from demur.paths import hash_file, hash_value, write_json
from demur.tasks import Task

CHANGES_FILE = "changes.safetensors"
BASE_FILE = "base.json"


def keep_changes(module: nn.Module) -> dict[str, Any]:
    """Copies of all that was trained, on the CPU, by name; to be taken before adapters are merged."""
    return {
        name: value.detach().cpu().clone().contiguous()
        for name, value in module.named_parameters()
        if value.requires_grad
    }


def hash_weights(folder: str | Path) -> str:
    """Hash of the weights in a model's folder."""
    return hash_value([[path.name, hash_file(path)] for path in sorted(Path(folder).glob("*.safetensors"))])


def save_changes(changes: dict[str, Any], module: nn.Module, folder: Path, place: tuple[str, Task]) -> None:
    """Write changes, the configuration, and what they change.

    Parameters
    ----------
    changes
        From :func:`keep_changes`.
    module
        The module they are of.
    folder
        Where to.
    place
        The base model's name, and the task.
    """
    name, task = place
    save_file(changes, folder / CHANGES_FILE)
    name_labels(module, task).save_pretrained(str(folder))
    write_json(folder / BASE_FILE, {"model": name, "weights": hash_weights(resolve_model(name))})


def load_changes(folder: Path, config: TransformerConfig, task: Task) -> tuple[nn.Module, dict[str, Any]]:
    """The module that :func:`save_changes` wrote the changes of, whole again, and the changes.

    Raises
    ------
    ArtifactError
        The base model is not here, or is another one than when the changes were trained.
    """
    known = json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))
    try:
        base = resolve_model(config.model, fetch=False)
    except ConfigError as error:
        raise ArtifactError(
            f"the model in {folder} holds only its changes to '{known['model']}', which is missing: {error}"
        ) from error
    if hash_weights(base) != known["weights"]:
        raise ArtifactError(
            f"the model in {folder} holds its changes to '{known['model']}', whose weights are not those it was "
            "trained on; restore them, or train again with store: whole"
        )
    module = build_module(base, config, task)
    tuner = add_lora(encoder_of(module).base_model, config.lora) if config.tuning == "lora" else None
    changes = load_file(folder / CHANGES_FILE)
    missing = {name for name, value in module.named_parameters() if value.requires_grad} ^ set(changes)
    if missing:
        raise ArtifactError(
            f"the changes in {folder} do not fit '{known['model']}' (first difference: {min(missing)}); "
            "train again"
        )
    module.load_state_dict(changes, strict=False)
    if tuner is not None:
        merge_lora(tuner)
    return module, changes
