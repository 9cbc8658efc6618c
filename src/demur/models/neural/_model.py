"""The neural family: small networks over subwords of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.errors import UsageError, require
from demur.models._base import BaseClassifier
from demur.models.neural._config import NeuralConfig
from demur.models.neural._train import fit_neural
from demur.paths import write_json
from demur.training import (
    RowEncoder,
    TokenRows,
    full_disk_as_os_error,
    pad_rows,
    pick_device,
    plan_batches,
)

if TYPE_CHECKING:
    from demur.models.neural._module import TextNetwork

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class NeuralClassifier(BaseClassifier[NeuralConfig]):
    """A network over subwords learned from the training rows, trained from nothing.

    With ``checkpoint_folder`` set, a killed training goes on from the last whole epoch.
    """

    family: ClassVar[str] = "neural"
    config_type = NeuralConfig
    wants_valid: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "neural_cnn": {"architecture": "cnn"},
        "neural_lstm": {"architecture": "lstm"},
        "neural_bilstm": {"architecture": "bilstm", "hidden": 64},
        "neural_transformer": {
            "architecture": "transformer",
            "layers": 2,
            "hidden": 256,
            "train": {"learning_rate": 1e-3},
        },
        "neural_hybrid": {"architecture": "hybrid"},
    }
    search_space: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "train.learning_rate": {"low": 3e-4, "high": 6e-3, "log": True},
        "dropout": {"low": 0.1, "high": 0.6},
        "embedding_dim": {"choices": [64, 128, 256]},
        "vocabulary": {"choices": [2000, 6000, 12000]},
        "train.label_smoothing": {"choices": [0.0, 0.1]},
    }

    def __init__(self, task: Any, config: NeuralConfig | None = None, seed: int = 0) -> None:
        super().__init__(task, config, seed)
        self._module: TextNetwork | None = None
        self._rows: RowEncoder | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts it reads: those of the settings, else those of the task."""
        return self.config.fields or self.task.fields

    @property
    def module(self) -> TextNetwork:
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
    def row_encoder(self) -> RowEncoder:
        """What turns texts into token ids."""
        assert self.module is not None
        assert self._rows is not None
        return self._rows

    @property
    def pad_id(self) -> int:
        """The token id that fills short rows."""
        return 0

    def attach(self, module: TextNetwork, tokenizer: Any) -> None:
        """Use this network and tokenizer from now on."""
        self._module, self._rows = module, RowEncoder(tokenizer, self.config.limits)

    def input_names(self) -> tuple[str, ...]:
        """The tensors the module takes."""
        return _INPUTS

    def encode(self, records: Records) -> TokenRows:
        """Token ids of the texts it reads."""
        return self.row_encoder.encode([records.texts(field) for field in self.fields], self.fields)

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        require("torch", extra="torch")
        self.training = fit_neural(self, train, targets, valid)
        self.module.to(pick_device(self.config.train.device)).eval()

    def _predict(self, records: Records) -> NDArray[np.floating[Any]]:
        import torch

        module, rows = self.module, self.encode(records)
        device = module.absent.device
        probabilities = np.empty((len(rows), len(self.task.labels)), dtype=np.float64)
        limit = self.config.predict_rows
        module.eval()
        with torch.inference_mode():
            for batch in plan_batches(rows.lengths, limit, limit * self.config.max_tokens):
                padded = pad_rows(rows.take(batch), self.pad_id)
                logits = module(**{name: torch.from_numpy(padded[name]).to(device) for name in _INPUTS})["logits"]
                probabilities[batch] = logits.double().softmax(dim=1).cpu().numpy()
        return probabilities

    def _write(self, folder: Path) -> None:
        from safetensors.torch import save_file

        state = {name: tensor.contiguous().cpu() for name, tensor in self.module.state_dict().items()}
        with full_disk_as_os_error():
            save_file(state, folder / WEIGHTS)
            self.row_encoder.tokenizer.save(str(folder / TOKENIZER))
        sizes = {"vocab_size": self.module.tokens.num_embeddings, "pad_token_id": self.pad_id}
        write_json(folder / "config.json", {"architectures": [self.config.architecture], **sizes})

    def _read(self, folder: Path) -> None:
        require("torch", extra="torch")
        tokenizers = require("tokenizers", extra="torch")
        from safetensors.torch import load_file

        from demur.models.neural._module import TextNetwork

        tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
        module = TextNetwork(self.config, tokenizer.get_vocab_size(), len(self.task.labels))
        module.load_state_dict(load_file(folder / WEIGHTS))
        self.attach(module, tokenizer)
        self.module.to(pick_device(self.config.train.device)).eval()
