"""The classical classifier: features, an optional choice of the best terms, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.models._base import BaseClassifier, Probabilities
from demur.models._skops import load_skops, save_skops
from demur.models.classical._adaptive import TrainingRows, fit_by_schedule, learn_schedule
from demur.models.classical._boost import BoostedHead
from demur.models.classical._config import BOOSTED, TREES, ClassicalConfig
from demur.models.classical._features import Features, read_features, write_features
from demur.models.classical._heads import (
    balance_weights,
    fit_head,
    importances,
    linear_weights,
    new_head,
    settle_head,
)
from demur.models.classical._spaces import SPACES
from demur.tasks import Task

_FILE = "model.skops"
_PART_ROWS = 512
"""Rows judged at a time: the longest texts take up to 100 kB of features each, several times over."""


class ClassicalClassifier(BaseClassifier[ClassicalConfig]):
    """TF-IDF of words and characters of prompt and response, under one of seven heads."""

    family: ClassVar[str] = "classical"
    config_type = ClassicalConfig
    presets = {  # noqa: RUF012
        "tfidf_logreg": {"head": "logreg"},
        "tfidf_svm": {"head": "svm"},
        "tfidf_nb": {"head": "nb"},
        "tfidf_forest": {"head": "forest"},
        "tfidf_xgboost": {"head": "xgboost", "trees": 200},
        "tfidf_lightgbm": {"head": "lightgbm", "trees": 200},
        "tfidf_kernel_svm": {"head": "svc", "best_terms": 20_000},
        "tfidf_lexical": {"head": "logreg", "lexical": True, "c": 1.0},
    }

    def __init__(self, task: Task, config: ClassicalConfig | None = None, seed: int = 0) -> None:
        super().__init__(task, config, seed)
        self.alpha_trajectory: dict[str, Any] | None = None
        """How adaptive class weights went; None without them and for a loaded classifier."""

    @property
    def is_seeded(self) -> bool:
        """Not where the head has one answer and no rows are drawn to watch or to calibrate on."""
        return self.config.head not in ("logreg", "nb") or self.config.balance == "adaptive"

    @classmethod
    def default_space(cls, config: ClassicalConfig) -> Mapping[str, Mapping[str, Any]]:
        """What a search varies by default: the settings that the head takes heed of."""
        return SPACES[config.head]

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        self._features = Features(self.config, self.config.fields or self.task.fields)
        matrix = self._features.fit_transform(train)
        # Heads see consecutive class ids, so that a class without a row is no gap.
        self._classes, inside = np.unique(targets, return_inverse=True)
        rows = TrainingRows(matrix, inside.astype(np.int64), train.groups(), self._classes)
        self._kept = self._choose_terms(matrix, rows.targets)
        self._head = self._fit_head(rows)
        settle_head(self._head)

    def _fit_head(self, rows: TrainingRows) -> Any:
        config, kept = self.config, rows.columns(self._kept)
        if config.balance == "adaptive":
            schedule = learn_schedule(self.task, config, rows, self._choose_terms, self.seed)
            self.alpha_trajectory = schedule.trajectory
            return fit_by_schedule(config, kept, schedule, self.seed)
        weighted = config.head in BOOSTED and config.balance == "balanced"
        head = new_head(config, self.seed, kept.folds(config, self.seed))
        return fit_head(head, kept.matrix, kept.targets, balance_weights(kept.targets) if weighted else None)

    def _choose_terms(self, matrix: Any, targets: NDArray[np.int64]) -> NDArray[np.int64] | None:
        if self.config.head not in (*TREES, "svc") or matrix.shape[1] <= self.config.best_terms:
            return None
        if self.config.head == "svc":  # the dimensions it sees follow the weight of terms, not the labels
            scores = np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel()
        else:
            from sklearn.feature_selection import chi2

            scores = np.nan_to_num(chi2(matrix, targets)[0])
        return np.sort(np.argsort(-scores, kind="stable")[: self.config.best_terms]).astype(np.int64)

    def _predict(self, records: Records) -> Probabilities:
        parts = range(0, len(records), _PART_ROWS)
        return np.vstack([self._predict_part(Records(records.frame.slice(start, _PART_ROWS))) for start in parts])

    def _predict_part(self, records: Records) -> Probabilities:
        matrix = self._features.transform(records)
        if self._kept is not None:
            matrix = matrix[:, self._kept]
        inside = np.asarray(self._head.predict_proba(matrix), dtype=np.float64)
        probabilities = np.zeros((len(records), len(self.task.labels)))
        probabilities[:, self._classes] = inside / inside.sum(axis=1, keepdims=True)
        return probabilities

    def top_features(self, count: int = 20) -> dict[str, list[tuple[str, float]]] | None:
        """The ``count`` heaviest terms per label (linear heads), of the whole model (trees), or None (svc)."""
        names = np.array(self._features.names(), dtype=object)
        if self._kept is not None:
            names = names[self._kept]
        weights, shares = linear_weights(self._head), importances(self._head)
        if shares is not None:
            rows = {"all labels": shares}
        elif weights is None:
            return None
        elif len(weights) == 1:
            labels = [self.task.labels[number] for number in self._classes]
            rows = {labels[0]: -weights[0], labels[1]: weights[0]}
        else:
            rows = {self.task.labels[number]: row for number, row in zip(self._classes, weights, strict=True)}
        return {
            label: [(str(names[at]), float(row[at])) for at in np.argsort(-row, kind="stable")[:count]]
            for label, row in rows.items()
        }

    def _write(self, folder: Path) -> None:
        write_features(self._features, folder)
        state = {
            "kept": self._kept,
            "classes": self._classes,
            "head": None if isinstance(self._head, BoostedHead) else self._head,
        }
        save_skops(state, folder / _FILE)
        if isinstance(self._head, BoostedHead):
            self._head.write(folder)

    def _read(self, folder: Path) -> None:
        state = load_skops(folder / _FILE)
        self._features = read_features(self.config, folder)
        self._kept, self._classes, self._head = state["kept"], state["classes"], state["head"]
        if self.config.head in BOOSTED:
            self._head = new_head(self.config, self.seed, None).read(folder)
