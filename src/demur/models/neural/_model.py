"""The neural family: small networks over subwords of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.errors import require
from demur.models._torch import TorchClassifier
from demur.models.neural._config import NeuralConfig
from demur.models.neural._train import fit_neural
from demur.paths import full_disk_as_os_error, write_json
from demur.training import RowEncoder, pick_device

if TYPE_CHECKING:
    from demur.models.neural._module import TextNetwork

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class NeuralClassifier(TorchClassifier[NeuralConfig]):
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

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        require("torch", extra="torch")
        self.training = fit_neural(self, train, targets, valid)
        self.module.to(pick_device(self.config.train.device)).eval()

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
