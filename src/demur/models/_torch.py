"""What the families that judge through a torch module share: encoded rows, batches, logits."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from demur.data import Records
from demur.errors import UsageError
from demur.models._base import BaseClassifier
from demur.models._several import softmax
from demur.training import RowEncoder, TokenLimits, TokenRows, TrainConfig, pad_rows, plan_batches


class TorchConfig(TokenLimits):
    """Settings of every family that judges through a torch module."""

    fields: tuple[Literal["prompt", "response"], ...] = Field(
        default=(), max_length=2, description="Texts to read; empty: those of the classifier's own task."
    )
    predict_rows: int = Field(default=32, ge=1, description="Most rows a forward pass in prediction.")
    train: TrainConfig = Field(default=TrainConfig(), description="The training loop.")

    @property
    def limits(self) -> TokenLimits:
        """The part that says how rows are cut."""
        return TokenLimits(**{name: getattr(self, name) for name in TokenLimits.model_fields})


T = TypeVar("T", bound=TorchConfig)


class TorchClassifier(BaseClassifier[T]):
    """A classifier around a torch module that gives logits; a family sets ``_module`` and ``_rows``."""

    def __init__(self, task: Any, config: T | None = None, seed: int = 0) -> None:
        super().__init__(task, config, seed)
        self._module: Any = None
        self._rows: RowEncoder | None = None

    @property
    def watches_valid(self) -> bool:
        """As the settings say."""
        return self.config.train.watch

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts it reads: those of the settings, else those of its own task."""
        return self.config.fields or self.task.fields

    @property
    def module(self) -> Any:
        """The torch module; gives ``logits`` ``(n, k)``, of several tasks side by side.

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
    @abstractmethod
    def pad_id(self) -> int:
        """The token id that fills short rows."""

    @abstractmethod
    def input_names(self) -> tuple[str, ...]:
        """The tensors the module takes."""

    def encode(self, records: Records) -> TokenRows:
        """Token ids of the texts it reads."""
        return self.row_encoder.encode([records.texts(field) for field in self.fields], self.fields)

    def _logits(self, records: Records) -> NDArray[np.float64]:
        """Logits ``(n, k)`` of at least one record; similar lengths share a batch."""
        import torch

        module, names, rows = self.module, self.input_names(), self.encode(records)
        device = next(module.parameters()).device
        found: NDArray[np.float64] | None = None
        limit = self.config.predict_rows
        module.eval()
        with torch.inference_mode():
            for batch in plan_batches(rows.lengths, limit, limit * self.config.max_tokens):
                padded = pad_rows(rows.take(batch), self.pad_id)
                given = module(**{name: torch.from_numpy(padded[name]).to(device) for name in names})["logits"]
                if found is None:
                    found = np.empty((len(rows), given.shape[1]))
                found[batch] = given.double().cpu().numpy()
        assert found is not None  # at least one record, so at least one batch
        return found

    def _predict(self, records: Records) -> NDArray[np.floating[Any]]:
        return softmax(self._logits(records))


class TokenizedClassifier(TorchClassifier[T]):
    """A torch classifier that reads by the tokenizer of a pre-trained model."""

    def __init__(self, task: Any, config: T | None = None, seed: int = 0) -> None:
        super().__init__(task, config, seed)
        self._tokenizer: Any = None

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""
        assert self.module is not None
        return self._tokenizer

    @property
    def pad_id(self) -> int:
        """The token id that fills short rows."""
        return int(self.tokenizer.pad_token_id)

    def _attach(self, module: Any, tokenizer: Any) -> None:
        self._module, self._tokenizer = module, tokenizer
        self._rows = RowEncoder(tokenizer.backend_tokenizer, self.config.limits)
