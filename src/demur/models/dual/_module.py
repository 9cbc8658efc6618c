"""The module of the dual family: building, saving and loading it.

Imported only inside functions, since it needs torch. A saved folder is what ``AutoModel`` saves, with the
linear layers in ``heads.safetensors`` beside it, named by task.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel

from demur.errors import ArtifactError
from demur.models._encoder import mean_pool
from demur.models._pretrained import load_module
from demur.models.dual._config import DualConfig
from demur.models.transformer._module import freeze
from demur.tasks import Task
from demur.training import quiet_transformers

HEADS_FILE = "heads.safetensors"


class SharedEncoder(nn.Module):
    """An encoder, the mean of its last hidden states, dropout, and a linear layer for each task.

    The layers are kept as one, whose rows are the classes of all tasks in turn: one product gives all logits.

    Parameters
    ----------
    encoder
        A transformers model whose output has ``last_hidden_state``.
    classes
        How many classes each task has.
    dropout
        Rate before the linear layers.
    """

    def __init__(self, encoder: Any, classes: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.classes = tuple(classes)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.Linear(encoder.config.hidden_size, sum(classes))
        nn.init.normal_(self.heads.weight, std=0.02)
        nn.init.zeros_(self.heads.bias)

    @property
    def config(self) -> Any:
        """The encoder's configuration."""
        return self.encoder.config

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Logits ``(batch, Σk)`` of token ids ``(batch, seq)``: the tasks' classes side by side."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        hidden = self.encoder(**inputs).last_hidden_state  # (batch, seq, hidden)
        return {"logits": self.heads(self.dropout(mean_pool(hidden, attention_mask)))}

    def shares(self) -> list[slice]:
        """Which columns of the logits are each task's."""
        ends = np.cumsum(self.classes).tolist()
        return [slice(end - count, end) for end, count in zip(ends, self.classes, strict=True)]


def build_module(folder: str | Path, config: DualConfig, tasks: Sequence[Task]) -> SharedEncoder:
    """Put new linear layers on the encoder in a folder, and freeze what the settings say.

    Raises
    ------
    ConfigError
        The folder holds no such model, or ``freeze_layers`` does not fit it.
    """
    encoder = load_module(AutoModel, folder)
    freeze(encoder, config.freeze_layers)
    return SharedEncoder(encoder, [len(task.labels) for task in tasks], config.dropout)


def save_module(module: SharedEncoder, folder: Path, tasks: Sequence[Task]) -> None:
    """Write weights and configuration into a folder; the first task's labels are the configuration's."""
    config = module.encoder.config
    config.id2label = dict(enumerate(tasks[0].labels))
    config.label2id = {label: number for number, label in enumerate(tasks[0].labels)}
    with quiet_transformers():
        module.encoder.save_pretrained(str(folder))
    heads = {}
    for task, share in zip(tasks, module.shares(), strict=True):
        for part in ("weight", "bias"):
            heads[f"{task.name}.{part}"] = getattr(module.heads, part).detach()[share].contiguous().cpu()
    save_file(heads, folder / HEADS_FILE)


def load_saved_module(folder: Path, config: DualConfig, tasks: Sequence[Task]) -> SharedEncoder:
    """Read back what :func:`save_module` wrote.

    Raises
    ------
    ArtifactError
        A task's layer is missing or has another number of classes.
    """
    module = SharedEncoder(
        load_module(AutoModel, folder, saved=True), [len(task.labels) for task in tasks], config.dropout
    )
    heads = load_file(folder / HEADS_FILE)
    with torch.no_grad():
        for task, share in zip(tasks, module.shares(), strict=True):
            for part in ("weight", "bias"):
                place, found = getattr(module.heads, part)[share], heads.get(f"{task.name}.{part}")
                if found is None or found.shape != place.shape:
                    raise ArtifactError(
                        f"{folder / HEADS_FILE} holds no layer for the {len(task.labels)} classes of task "
                        f"'{task.name}'; restore the file or train again"
                    )
                place.copy_(found)
    return module
