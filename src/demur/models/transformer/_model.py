"""The transformer family: a pre-trained encoder or language model fine-tuned on a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.errors import require
from demur.models._pretrained import input_names, load_tokenizer
from demur.models._torch import TokenizedClassifier
from demur.models.transformer._causal import is_causal, mark_texts
from demur.models.transformer._config import TransformerConfig
from demur.models.transformer._presets import PRESETS
from demur.models.transformer._train import fit_transformer
from demur.paths import full_disk_as_os_error
from demur.training import pick_device, quiet_transformers

if TYPE_CHECKING:
    from torch import nn


class TransformerClassifier(TokenizedClassifier[TransformerConfig]):
    """A pre-trained encoder or causal language model with a classification head, fine-tuned together.

    With ``checkpoint_folder`` set, a killed training goes on from the last whole checkpoint.
    """

    family: ClassVar[str] = "transformer"
    config_type = TransformerConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    wants_valid: ClassVar[bool] = True
    search_space: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "train.learning_rate": {"low": 1e-5, "high": 2e-4, "log": True},
        "train.epochs": {"low": 2, "high": 6, "int": True},
        "train.batch_size": {"choices": [8, 16, 32]},
        "layer_decay": {"choices": [0.8, 0.9, 1.0]},
    }

    def __init__(self, task: Any, config: TransformerConfig | None = None, seed: int = 0) -> None:
        super().__init__(task, config, seed)
        self._changes: dict[str, Any] | None = None

    @classmethod
    def default_space(cls, config: Any) -> Mapping[str, Mapping[str, Any]]:
        """What a search varies by default; adapters and a head alone learn at higher rates than whole models."""
        if config.tuning == "full":
            return cls.search_space
        space = {name: dict(values) for name, values in cls.search_space.items() if name != "layer_decay"}
        space["train.learning_rate"] = {"low": 1e-4, "high": 2e-3, "log": True}
        if config.tuning == "lora":
            space["lora.rank"] = {"choices": [8, 16, 32]}
        return space

    def attach(self, module: nn.Module, tokenizer: Any) -> None:
        """Use this module and tokenizer from now on."""
        self._attach(module, tokenizer)

    def finish(self, tuner: Any) -> None:
        """Keep what is stored of a training, and merge its adapters into the weights.

        Merged, a model judges at the speed of one that never had adapters, and ONNX export sees plain layers.

        Parameters
        ----------
        tuner
            From ``add_lora``; None without adapters.
        """
        from demur.models.transformer._changes import keep_changes
        from demur.models.transformer._lora import merge_lora

        self.module.cpu()
        self._changes = keep_changes(self.module) if self._stores_changes() else None
        if tuner is not None:
            merge_lora(tuner)

    def _stores_changes(self) -> bool:
        from demur.models.transformer._module import encoder_of

        if self.config.store != "auto":
            return self.config.store == "changes"
        return self.config.tuning != "full" and is_causal(encoder_of(self.module).config)

    def input_names(self) -> tuple[str, ...]:
        """The tensors the module takes."""
        from demur.models.transformer._module import encoder_of

        return input_names(encoder_of(self.module), self._tokenizer)

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        require("torch", extra="torch")
        self.training = fit_transformer(self, train, targets, valid)
        self.module.to(pick_device(self.config.train.device)).eval()

    def _write(self, folder: Path) -> None:
        from demur.models.transformer._changes import save_changes
        from demur.models.transformer._module import save_module

        with full_disk_as_os_error(), quiet_transformers():
            if self._changes is not None:
                save_changes(self._changes, self.module, folder, (self.config.model, self.task))
            else:
                save_module(self.module, folder, self.task)
            self.tokenizer.save_pretrained(str(folder))

    def _read(self, folder: Path) -> None:
        require("torch", extra="torch")
        require("transformers", extra="torch")
        from demur.models.transformer._changes import BASE_FILE, load_changes
        from demur.models.transformer._module import load_saved_module

        if (folder / BASE_FILE).is_file():
            module, self._changes = load_changes(folder, self.config, self.task)
        else:
            module = load_saved_module(folder, self.config, self.task)
        tokenizer = load_tokenizer(folder)
        if is_causal(module.config):
            mark_texts(tokenizer)
            module.config.pad_token_id = tokenizer.pad_token_id  # type: ignore[union-attr]
        self.attach(module, tokenizer)
        self.module.to(pick_device(self.config.train.device)).eval()
