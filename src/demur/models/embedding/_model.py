"""The embedding classifier: frozen views and other features side by side, under a head that learns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from demur.data import Records
from demur.errors import ArtifactError, ConfigError
from demur.models._base import BaseClassifier, Probabilities
from demur.models._encoder import hash_model, resolve_model
from demur.models._scale import BlockScaler
from demur.models._skops import load_skops, save_skops
from demur.models.classical import Features, read_features, write_features
from demur.models.embedding._blocks import DenseBlocks
from demur.models.embedding._config import EmbeddingConfig
from demur.models.embedding._heads import HeadRows, fit_head, pack_head, unpack_head
from demur.models.embedding._views import find_store
from demur.paths import write_json

_FILE, _ENCODER = "head.skops", "encoder.json"
SPACES: dict[str, dict[str, dict[str, Any]]] = {
    "logreg": {"c": {"low": 0.03, "high": 30, "log": True}},
    "svc": {
        "c": {"low": 0.1, "high": 30, "log": True},
        "gamma": {"low": 0.1, "high": 3, "log": True},
    },
    "prototype": {"shrinkage": {"low": 0.1, "high": 30, "log": True}},
    "knn": {"neighbours": {"low": 3, "high": 60, "int": True, "log": True}},
}
"""Head to what a search varies by default; none of it changes the vectors, so each text is still read once."""
_SENTENCES = {"views": ["head", "first_sentence", "sentence_mean", "prompt"], "lexical": True, "anchors": True}


class EmbeddingClassifier(BaseClassifier[EmbeddingConfig]):
    """A frozen sentence encoder's views of prompt and response, under a linear or a kernel head.

    The encoder itself is not copied into the saved folder: it is named with a hash of its weights. Loading looks
    for it on this machine alone, and refuses another one.
    """

    family: ClassVar[str] = "embedding"
    config_type = EmbeddingConfig
    presets = {  # noqa: RUF012
        "minilm_logreg": {},
        "minilm_anchors": _SENTENCES,
        "minilm_hybrid": {
            "views": ["head", "first_sentence", "sentence_mean"],
            "embedding_weight": 0.5,
            "lexical": True,
            "anchors": True,
            "features": {},
        },
        "minilm_svc": {**_SENTENCES, "head": "svc", "lexical_weight": 0.5},
        "minilm_prototype": {"head": "prototype"},
        "minilm_knn": {"head": "knn"},
    }

    @property
    def is_seeded(self) -> bool:
        """Only the kernel head is, which is calibrated on folds that are drawn."""
        return self.config.head == "svc"

    @classmethod
    def default_space(cls, config: Any) -> Mapping[str, Mapping[str, Any]]:
        """What a search varies by default: the head's own settings, and the size of lexical columns if any."""
        lexical = {"lexical_weight": {"low": 0.25, "high": 4.0, "log": True}} if config.lexical else {}
        return SPACES[config.head] | lexical

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        config = self.config
        self._blocks = DenseBlocks(config, self.task.fields)
        dense = self._blocks.fit_transform(train)
        self._features, extra = None, None
        if config.features is not None:
            self._features = Features(config.features, config.features.fields or self.task.fields)
            extra = self._features.fit_transform(train)
        self._classes, inside = np.unique(targets, return_inverse=True)
        self._head = fit_head(config, self.seed, HeadRows(_join(dense, extra), inside, train.groups()))

    def _predict(self, records: Records) -> Probabilities:
        extra = None if self._features is None else self._features.transform(records)
        probabilities = np.zeros((len(records), len(self.task.labels)))
        probabilities[:, self._classes] = self._head.predict_proba(_join(self._blocks.transform(records), extra))
        return probabilities

    def _write(self, folder: Path) -> None:
        scalers = self._blocks.scalers
        state = {
            "head": pack_head(self._head),
            "classes": self._classes,
            "scalers": {name: (scaler.mean, scaler.scale) for name, scaler in scalers.items()},
        }
        save_skops(state, folder / _FILE)
        if self._features is not None:
            write_features(self._features, folder)
        store = find_store(self.config)
        named = {"encoder": self.config.encoder, "dimension": int(store.dimension)}
        write_json(folder / _ENCODER, named | {"sha256": store.encoder.fingerprint})

    def _read(self, folder: Path) -> None:
        wanted = json.loads((folder / _ENCODER).read_text(encoding="utf-8"))
        config = self.config
        _check_encoder(config.encoder, wanted.get("sha256"), folder)
        dimension = find_store(config).dimension
        if dimension != wanted["dimension"]:
            raise ArtifactError(
                f"the encoder '{config.encoder}' gives {dimension} numbers a text, the model in {folder} was "
                f"trained on {wanted['dimension']}; use the encoder it was trained with"
            )
        state = load_skops(folder / _FILE)
        self._head, self._classes = unpack_head(config, state["head"]), state["classes"]
        scalers = {name: BlockScaler(*scaler) for name, scaler in state["scalers"].items()}
        self._blocks = DenseBlocks(config, self.task.fields, scalers)
        self._features = read_features(config.features, folder) if config.features is not None else None


def _join(dense: NDArray[np.float64], extra: Any) -> Any:
    return dense if extra is None else sp.hstack([extra, sp.csr_matrix(dense)], format="csr")


def _check_encoder(name: str, wanted: str | None, folder: Path) -> None:
    """Refuse an encoder that is not on this machine, or not the one a model was trained with; asks no hub.

    Raises
    ------
    ArtifactError
        It is absent, or another one.
    """
    try:
        found = hash_model(resolve_model(name, fetch=False))
    except ConfigError as error:
        raise ArtifactError(
            f"the model in {folder} reads texts through the encoder '{name}', which loading does not "
            f"fetch: {error}"
        ) from error
    # Models of the first version carry no hash; their probe notices another encoder.
    if wanted is not None and found != wanted:
        raise ArtifactError(
            f"the encoder '{name}' on this machine is not the one that the model in {folder} was trained with "
            "(other weights, settings or vocabulary); put that one in its place, or train again"
        )
