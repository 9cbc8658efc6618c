"""Grouped, stratified folds of a classifier's own training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def grouped_folds(groups: NDArray[np.int64], targets: NDArray[np.int64], folds: int, seed: int) -> Folds:
    """Grouped, stratified folds whose every training side holds all classes; plain ones where groups forbid it.

    A class of fewer rows than folds makes them fewer; one of a single row leaves one fold, with all rows on both
    sides.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    classes, sizes = np.unique(targets, return_counts=True)
    folds = min(folds, int(sizes.min()))
    if folds < 2:
        return [(np.arange(len(targets)), np.arange(len(targets)))]
    if len(np.unique(groups)) >= folds:
        found = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(groups, targets, groups))
        if all(len(np.unique(targets[train])) == len(classes) for train, _ in found):
            return found
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(groups, targets))
