"""The heads of the classical family: what learns from the features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.models.classical._boost import BoostedHead, LightgbmHead, XgboostHead
from demur.models.classical._config import ClassicalConfig

Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
CALIBRATED = ("svm", "svc")
"""Heads that give no probabilities of their own."""


def new_head(config: ClassicalConfig, seed: int, splits: Folds | None) -> Any:
    """An unfitted estimator with ``predict_proba``, as scikit-learn has them.

    Parameters
    ----------
    splits
        Grouped folds for calibrating the SVMs; None where the head is none, or will be loaded.
    """
    weight = "balanced" if config.balance == "balanced" else None
    if config.head == "xgboost":
        return XgboostHead(config, seed)
    if config.head == "lightgbm":
        return LightgbmHead(config, seed)
    if config.head == "svm":
        from sklearn.svm import LinearSVC

        return _calibrate(LinearSVC(C=config.c / 8, class_weight=weight, random_state=seed), splits)
    if config.head == "svc":
        return _new_kernel_svm(config, seed, splits, weight)
    if config.head == "nb":
        from sklearn.naive_bayes import ComplementNB

        return ComplementNB(alpha=config.smoothing)
    if config.head == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            config.trees,
            class_weight=weight,
            min_samples_leaf=2,
            n_jobs=config.threads or -1,
            random_state=seed,
        )
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=config.c, class_weight=weight, max_iter=2000, random_state=seed)


def fit_head(
    head: Any, matrix: Any, targets: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> Any:
    """Fit a head, with a weight for each row where given, ``(n,)``."""
    if not hasattr(head, "steps"):
        return head.fit(matrix, targets) if weights is None else head.fit(matrix, targets, sample_weight=weights)
    # A small fold has fewer dimensions than the settings ask for.
    most = max(1, min(head["svd"].n_components, matrix.shape[0] - 1, matrix.shape[1]))
    head.set_params(svd__n_components=most)
    return head.fit(matrix, targets) if weights is None else head.fit(matrix, targets, svc__sample_weight=weights)


def settle_head(head: Any) -> None:
    """Take out of a fitted head what a saved model has no use for, or what would make its answers vary."""
    last = head["svc"] if hasattr(head, "steps") else head
    if hasattr(last, "calibrated_classifiers_"):
        last.cv = None  # row numbers of the folds
    if hasattr(last, "n_jobs") and hasattr(last, "estimators_"):
        last.n_jobs = 1  # threads would add the trees' votes in another order each time


def balance_weights(targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Row weights ``(n,)`` that give each class present the same total."""
    counts = np.bincount(targets)
    present = np.count_nonzero(counts)
    weights: NDArray[np.float64] = len(targets) / (present * np.maximum(counts, 1))[targets]
    return weights


def linear_weights(head: Any) -> NDArray[np.float64] | None:
    """Weights ``(k or 1, d)`` of a linear head, larger = more of the class; None for others."""
    if hasattr(head, "calibrated_classifiers_"):
        head = head.calibrated_classifiers_[0].estimator
    if hasattr(head, "coef_"):
        return np.asarray(head.coef_)
    if hasattr(head, "feature_log_prob_"):
        # A rare term weighs much in every class of naive Bayes; what tells them apart is the rest.
        weights: NDArray[np.float64] = head.feature_log_prob_ - head.feature_log_prob_.mean(axis=0)
        return weights
    return None


def importances(head: Any) -> NDArray[np.float64] | None:
    """Importance of each column, ``(d,)``, of a head of trees; None for others."""
    if isinstance(head, BoostedHead) or hasattr(head, "feature_importances_"):
        return np.asarray(head.feature_importances_, dtype=np.float64)
    return None


def _new_kernel_svm(config: ClassicalConfig, seed: int, splits: Folds | None, weight: str | None) -> Any:
    """An RBF machine over latent semantic dimensions: in the raw ones nearly all texts are equally far apart.

    Rows are brought to length 1, where the kernel is a function of their cosine.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import SVC

    machine = SVC(C=config.c, gamma=config.gamma, class_weight=weight, cache_size=500)
    reduce = TruncatedSVD(config.components, n_iter=3, random_state=seed)
    return Pipeline([("svd", reduce), ("unit", Normalizer()), ("svc", _calibrate(machine, splits))])


def _calibrate(machine: Any, splits: Folds | None) -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(machine, method="sigmoid", cv=splits, ensemble=False)
