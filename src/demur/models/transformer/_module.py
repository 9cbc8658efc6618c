"""The modules of the transformer family: building, freezing, saving and loading them.

Imported only inside functions, since it needs torch.

A folder with ``head: transformers`` is what ``AutoModelForSequenceClassification`` saves. With the other heads
it is what ``AutoModel`` saves (so other tools can use the tuned encoder), with the linear layer in
``head.safetensors`` beside it. Where only the changes are kept, see ``_changes.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification

from demur.errors import ConfigError
from demur.models._encoder import mean_pool
from demur.models._pretrained import load_module
from demur.models.transformer._causal import is_causal
from demur.models.transformer._config import TransformerConfig
from demur.models.transformer._rates import find_blocks
from demur.tasks import Task

HEAD_FILE = "head.safetensors"


class PooledClassifier(nn.Module):
    """An encoder, one vector of its last hidden states, dropout, and a linear layer.

    Parameters
    ----------
    encoder
        A transformers model whose output has ``last_hidden_state``.
    classes
        How many logits.
    dropout
        Rate before the linear layer.
    pooling
        ``mean`` over the tokens, the first token (``cls``), both side by side (``cls_mean``), or the ``last``;
        padding never counts.
    """

    def __init__(self, encoder: Any, classes: int, dropout: float, pooling: str = "mean") -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(encoder.config.hidden_size * (1 + (pooling == "cls_mean")), classes)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

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
        """Logits ``(batch, k)`` of token ids ``(batch, seq)``."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        hidden = self.encoder(**inputs).last_hidden_state  # (batch, seq, hidden)
        return {"logits": self.classifier(self.dropout(pool(hidden, attention_mask, self.pooling)))}


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector a row, ``(batch, hidden)`` or twice as wide, of ``(batch, seq, hidden)`` padded on the right."""
    if pooling == "mean":
        return mean_pool(hidden, mask)
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "cls_mean":
        return torch.cat([hidden[:, 0], mean_pool(hidden, mask)], dim=1)
    last = (mask.sum(dim=1) - 1).clamp(min=0)  # (batch,)
    # gather, since indexing with a range of rows would fix their number in an export.
    return hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2])).squeeze(1)


def build_module(folder: str | Path, config: TransformerConfig, task: Task) -> nn.Module:
    """Put a new head on the model in a folder, and freeze what the settings say.

    Raises
    ------
    ConfigError
        The folder holds no such model, or ``freeze_layers`` does not fit it.
    """
    classes = len(task.labels)
    encoder: Any
    if config.head == "transformers":
        module: nn.Module = load_module(
            AutoModelForSequenceClassification,
            folder,
            num_labels=classes,
            problem_type="single_label_classification",
        )
        encoder = module.base_model
    else:
        encoder = load_module(AutoModel, folder)
        module = PooledClassifier(encoder, classes, config.dropout, config.head)
    if is_causal(encoder.config):
        # Keys and values of earlier calls are for writing on, and would only cost memory here.
        encoder.config.use_cache = False
    if config.encoder_dropout is not None:
        set_dropout(encoder, config.encoder_dropout)
    if config.tuning == "head":
        encoder.requires_grad_(False)
    freeze(encoder, config.freeze_layers)
    return module


def encoder_of(module: nn.Module) -> Any:
    """The transformers model inside a module of this family, with its own head where that is used."""
    return module.encoder if isinstance(module, PooledClassifier) else module


def name_labels(module: nn.Module, task: Task) -> Any:
    """Write the task's labels into the transformers configuration, and give that."""
    config = encoder_of(module).config
    config.id2label = dict(enumerate(task.labels))
    config.label2id = {label: number for number, label in enumerate(task.labels)}
    return config


def set_dropout(encoder: Any, rate: float) -> None:
    """Give every dropout of an encoder, that of its attention too, this rate."""
    for part in encoder.modules():
        if isinstance(part, nn.Dropout):
            part.p = rate
        # Some architectures hand their attention a number instead.
        for name in ("attention_dropout", "dropout_prob"):
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, rate)


def freeze(encoder: Any, count: int) -> None:
    """Take the embeddings and the first ``count`` blocks out of training; 0 leaves all in.

    Raises
    ------
    ConfigError
        The encoder has fewer blocks, or shares one block's weights between all (ALBERT).
    """
    if count == 0:
        return
    blocks, depth = find_blocks(encoder), encoder.config.num_hidden_layers
    if blocks is None or count > depth:
        held = f"has {depth} blocks" if blocks else "keeps no list of blocks (ALBERT shares one)"
        raise ConfigError(
            f"freeze_layers is {count}, but the {encoder.config.model_type} model {held}; "
            f"give 0{f' to {depth}' if blocks else ''}",
            key="freeze_layers",
        )
    for child in encoder.children():
        if any(part is blocks for part in child.modules()):
            break
        child.requires_grad_(False)
    for block in list(blocks)[:count]:
        block.requires_grad_(False)


def save_module(module: nn.Module, folder: Path, task: Task) -> None:
    """Write weights and configuration into a folder."""
    name_labels(module, task)
    encoder_of(module).save_pretrained(str(folder))
    if isinstance(module, PooledClassifier):
        head = {name: tensor.contiguous().cpu() for name, tensor in module.classifier.state_dict().items()}
        save_file(head, folder / HEAD_FILE)


def load_saved_module(folder: Path, config: TransformerConfig, task: Task) -> nn.Module:
    """Read back what :func:`save_module` wrote."""
    if config.head == "transformers":
        module: nn.Module = load_module(AutoModelForSequenceClassification, folder, saved=True)
        return module
    pooled = PooledClassifier(
        load_module(AutoModel, folder, saved=True), len(task.labels), config.dropout, config.head
    )
    pooled.classifier.load_state_dict(load_file(folder / HEAD_FILE))
    return pooled
