"""The transformer family: a pre-trained encoder fine-tuned on a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.errors import UsageError, require
from demur.models._base import BaseClassifier
from demur.models._encoder import input_names, load_tokenizer
from demur.models.transformer._config import TransformerConfig
from demur.models.transformer._train import encode_records, fit_transformer
from demur.training import (
    RowEncoder,
    full_disk_as_os_error,
    pad_rows,
    pick_device,
    plan_batches,
    quiet_transformers,
)

if TYPE_CHECKING:
    from torch import nn


class TransformerClassifier(BaseClassifier[TransformerConfig]):
    """A pre-trained encoder with a classification head, fine-tuned together.

    With ``checkpoint_folder`` set, a killed training goes on from the last whole epoch.
    """

    family: ClassVar[str] = "transformer"
    config_type = TransformerConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"minilm_finetuned": {"model": "embedded:minilm"}}

    def __init__(self, task: Any, config: TransformerConfig | None = None, seed: int = 0) -> None:
        super().__init__(task, config, seed)
        self._module: nn.Module | None = None
        self._tokenizer: Any = None
        self._rows: RowEncoder | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts it reads: those of the settings, else those of the task."""
        return self.config.fields or self.task.fields

    @property
    def module(self) -> nn.Module:
        """The torch module; gives ``logits`` ``(n, k)``.

        Raises
        ------
        UsageError
            Neither fitted nor loaded.
        """
        if self._module is None:
            raise UsageError("this classifier is neither fitted nor loaded; call fit, or load a saved one")
        return self._module

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""
        assert self.module is not None
        return self._tokenizer

    @property
    def row_encoder(self) -> RowEncoder:
        """What turns texts into token ids."""
        assert self.module is not None
        assert self._rows is not None
        return self._rows

    @property
    def pad_id(self) -> int:
        """The token id that fills short rows."""
        return int(self.tokenizer.pad_token_id)

    def attach(self, module: nn.Module, tokenizer: Any) -> None:
        """Use this module and tokenizer from now on."""
        self._module, self._tokenizer = module, tokenizer
        self._rows = RowEncoder(tokenizer.backend_tokenizer, self.config.limits)

    def input_names(self) -> tuple[str, ...]:
        """The tensors the module takes."""
        from demur.models.transformer._module import encoder_of

        return input_names(encoder_of(self.module), self._tokenizer)

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        require("torch", extra="torch")
        self.training = fit_transformer(self, train, targets, valid)
        self.module.to(pick_device(self.config.train.device)).eval()

    def _predict(self, records: Records) -> NDArray[np.floating[Any]]:
        import torch

        module, rows, names = (
            self.module,
            encode_records(records, self.row_encoder, self.fields),
            self.input_names(),
        )
        device = next(module.parameters()).device
        probabilities = np.empty((len(rows), len(self.task.labels)), dtype=np.float64)
        limit = self.config.predict_rows
        module.eval()
        with torch.inference_mode():
            for batch in plan_batches(rows.lengths, limit, limit * self.config.max_tokens):
                padded = pad_rows(rows.take(batch), self.pad_id)
                logits = module(**{name: torch.from_numpy(padded[name]).to(device) for name in names})["logits"]
                probabilities[batch] = logits.double().softmax(dim=1).cpu().numpy()
        return probabilities

    def _write(self, folder: Path) -> None:
        from demur.models.transformer._module import save_module

        with full_disk_as_os_error(), quiet_transformers():
            save_module(self.module, folder, self.task)
            self.tokenizer.save_pretrained(str(folder))

    def _read(self, folder: Path) -> None:
        require("torch", extra="torch")
        require("transformers", extra="torch")
        from demur.models.transformer._module import load_saved_module

        self.attach(load_saved_module(folder, self.config, self.task), load_tokenizer(folder))
        self.module.to(pick_device(self.config.train.device)).eval()
