"""Gradient boosting by XGBoost or LightGBM: rounds may be added in parts, and each saves its own format.

Adding rounds in parts lets the weights of rows change between them; see ``_adaptive``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from demur.errors import ArtifactError, require
from demur.models.classical._config import ClassicalConfig

Weights = NDArray[np.float64] | None


class BoostedHead(ABC):
    """What both have in common.

    Parameters
    ----------
    config
        Rounds, shrinkage, depth and threads.
    seed
        Seed of the rows and columns each round sees.
    """

    file: ClassVar[str]
    """Its file in a model folder."""

    def __init__(self, config: ClassicalConfig, seed: int) -> None:
        self.config = config
        self.seed = seed

    def fit(self, matrix: Any, targets: NDArray[np.int64], sample_weight: Weights = None) -> Self:
        """All rounds at once; ``targets`` are ids without a gap, ``(n,)``."""
        return self.add_rounds(matrix, targets, sample_weight, self.config.trees)

    @abstractmethod
    def add_rounds(self, matrix: Any, targets: NDArray[np.int64], sample_weight: Weights, rounds: int) -> Self:
        """Go on from the rounds there are."""

    @abstractmethod
    def predict_proba(self, matrix: Any) -> NDArray[np.float64]:
        """Class probabilities ``(n, k)``."""

    @property
    @abstractmethod
    def feature_importances_(self) -> NDArray[np.float64]:
        """Share of each column in the gain of all splits, ``(d,)``."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the model."""

    @abstractmethod
    def read(self, folder: Path) -> Self:
        """Read what :meth:`write` wrote."""


class XgboostHead(BoostedHead):
    """XGBoost's histogram trees."""

    file = "booster.ubj"

    def __init__(self, config: ClassicalConfig, seed: int) -> None:
        super().__init__(config, seed)
        self._model = self._new(config.trees, seed)
        self._parts = 0

    def _new(self, rounds: int, seed: int) -> Any:
        xgboost = require("xgboost", extra="boost")
        return xgboost.XGBClassifier(
            n_estimators=rounds,
            learning_rate=self.config.learning_rate,
            max_depth=self.config.max_depth,
            subsample=0.8,
            colsample_bytree=0.5,
            tree_method="hist",
            n_jobs=self.config.threads or None,
            random_state=seed,
        )

    def add_rounds(self, matrix: Any, targets: NDArray[np.int64], sample_weight: Weights, rounds: int) -> Self:
        """Go on from the rounds there are, drawing other rows and columns than the part before."""
        before = self._model.get_booster() if self._parts else None
        self._model = self._new(rounds, self.seed + self._parts)
        self._model.fit(matrix, targets, sample_weight=sample_weight, xgb_model=before)
        self._parts += 1
        return self

    def predict_proba(self, matrix: Any) -> NDArray[np.float64]:
        """Class probabilities ``(n, k)``."""
        return np.asarray(self._model.predict_proba(matrix), dtype=np.float64)

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Share of each column in the gain of all splits, ``(d,)``."""
        return np.asarray(self._model.feature_importances_, dtype=np.float64)

    def write(self, folder: Path) -> None:
        """Write XGBoost's binary JSON."""
        self._model.get_booster().save_model(folder / self.file)

    def read(self, folder: Path) -> Self:
        """Read what :meth:`write` wrote."""
        self._model.load_model(folder / self.file)
        return self


class LightgbmHead(BoostedHead):
    """LightGBM's leaf-wise trees, made to give the same model on any number of threads."""

    file = "booster.txt"

    def __init__(self, config: ClassicalConfig, seed: int) -> None:
        super().__init__(config, seed)
        self._lightgbm: Any = require("lightgbm", extra="boost")
        self._booster: Any = None
        self._rounds = 0

    def add_rounds(self, matrix: Any, targets: NDArray[np.int64], sample_weight: Weights, rounds: int) -> Self:
        """Go on from the rounds there are, drawing other rows and columns than the part before."""
        settings = self._settings(int(targets.max()) + 1)
        rows = self._lightgbm.Dataset(matrix, targets, weight=sample_weight, params=settings, free_raw_data=False)
        self._booster = self._lightgbm.train(settings, rows, num_boost_round=rounds, init_model=self._booster)
        self._rounds += rounds
        return self

    def _settings(self, classes: int) -> dict[str, Any]:
        objective = {"objective": "multiclass", "num_class": classes} if classes > 2 else {"objective": "binary"}
        return objective | {
            "learning_rate": self.config.learning_rate,
            "max_depth": self.config.max_depth,
            "num_leaves": min(31, 2**self.config.max_depth),
            "min_data_in_leaf": 5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "feature_fraction": 0.5,
            "num_threads": self.config.threads,
            "seed": self.seed + self._rounds,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }

    def predict_proba(self, matrix: Any) -> NDArray[np.float64]:
        """Class probabilities ``(n, k)``."""
        found = np.asarray(self._booster.predict(matrix, num_threads=self.config.threads), dtype=np.float64)
        return found if found.ndim == 2 else np.column_stack([1 - found, found])

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Share of each column in the gain of all splits, ``(d,)``."""
        gain = np.asarray(self._booster.feature_importance("gain"), dtype=np.float64)
        return np.asarray(gain / max(gain.sum(), 1e-12), dtype=np.float64)

    def write(self, folder: Path) -> None:
        """Write LightGBM's own text."""
        (folder / self.file).write_text(self._booster.model_to_string(), encoding="utf-8")

    def read(self, folder: Path) -> Self:
        """Read what :meth:`write` wrote.

        Raises
        ------
        ArtifactError
            LightGBM cannot read it.
        """
        text = (folder / self.file).read_text(encoding="utf-8")
        try:
            self._booster = self._lightgbm.Booster(model_str=text)
        except self._lightgbm.basic.LightGBMError as error:
            raise ArtifactError(f"{folder / self.file} is no LightGBM model ({error}); train again") from error
        return self
