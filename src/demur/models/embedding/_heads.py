"""The heads of the embedding family: what learns from the dense features.

Two of them are scikit-learn's; ``prototype`` and ``knn`` are here. Both of these work with a row a class, and
choose how sure they are by the rows of each group, judged from the other groups alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from demur.models.classical import balance_weights, grouped_folds
from demur.models.embedding._config import EmbeddingConfig

Matrix = NDArray[np.float64]
Ids = NDArray[np.int64]
_SHARPNESS = (-3.0, 7.0)
"""Bounds of the logarithm of a head's sharpness."""
_PRIOR_ROWS = (0.03, 0.1, 0.3, 1.0, 3.0)
_DECAYS = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_BLOCK = 1024
_TIE = 1e-15


class Head(Protocol):
    """A fitted head."""

    def predict_proba(self, matrix: Any) -> Matrix:
        """Probabilities ``(n, k)`` of the classes it saw."""
        ...


@dataclass(frozen=True)
class HeadRows:
    """What a head learns from: features ``(n, d)``, classes ``(n,)`` numbered from 0, groups ``(n,)``."""

    matrix: Any
    classes: Ids
    groups: Ids

    @property
    def count(self) -> int:
        """How many classes."""
        return int(self.classes.max()) + 1


def fit_head(config: EmbeddingConfig, seed: int, rows: HeadRows) -> Head:
    """The head that a configuration asks for, fitted."""
    if config.head == "svc":
        return _fit_svc(config, seed, rows)
    if config.head == "prototype":
        return PrototypeHead.fit(config, rows)
    if config.head == "knn":
        return NeighbourHead.fit(config, rows)
    return _fit_logreg(config, seed, rows)


def pack_head(head: Head) -> Any:
    """A head as skops can hold it: scikit-learn's as they are, ours as their numbers."""
    return asdict(head) if isinstance(head, PrototypeHead | NeighbourHead) else head


def unpack_head(config: EmbeddingConfig, packed: Any) -> Head:
    """The inverse of :func:`pack_head`."""
    own: dict[str, Any] = {"prototype": PrototypeHead, "knn": NeighbourHead}
    head: Head = own[config.head](**packed) if config.head in own else packed
    return head


@dataclass(frozen=True)
class PrototypeHead:
    """The nearest class mean, after the means were drawn towards their centre.

    A class of ``n`` rows has the mean ``(sum + s·centre) / (n + s)``, where ``centre`` is the mean of the class
    means and ``s`` the shrinkage: few rows move it little. Probabilities are the softmax of the negative squared
    distance between the row, brought to length 1, and the means, times a sharpness of the greatest likelihood.

    References
    ----------
    Snell et al., "Prototypical networks for few-shot learning", NeurIPS 2017, section 2.3.
    """

    means: Matrix
    """``(k, d)``."""
    sharpness: float

    @classmethod
    def fit(cls, config: EmbeddingConfig, rows: HeadRows) -> Self:
        """Learn means from all rows, and the sharpness from each group against the means of the others."""
        unit = _to_unit(rows.matrix)
        members = np.eye(rows.count)[rows.classes]  # (n, k)
        sums, counts = members.T @ unit, members.sum(axis=0)
        logits = np.empty((len(unit), rows.count))
        for own in _groups(rows.groups):
            others = _shrink(
                sums - members[own].T @ unit[own], counts - members[own].sum(axis=0), config.shrinkage
            )
            logits[own] = _closeness(unit[own], others)
        weights = _row_weights(config, rows.classes)
        return cls(_shrink(sums, counts, config.shrinkage), _fit_sharpness(logits, rows.classes, weights))

    def predict_proba(self, matrix: Any) -> Matrix:
        """Probabilities ``(n, k)``."""
        return _softmax(self.sharpness * _closeness(_to_unit(matrix), self.means))


@dataclass(frozen=True)
class NeighbourHead:
    """The nearest training rows by cosine, each counting less the further off it is.

    A class has the share ``(Σ w + a/k) / (Σ all w + a)`` of its neighbours' weights ``exp(-decay·(1 - cosine))``,
    where ``a`` is the weight of not knowing: a row far from all others gets even odds. ``decay`` and ``a`` are
    those of the greatest likelihood on a grid.

    References
    ----------
    Dudani, "The distance-weighted k-nearest-neighbor rule", IEEE Trans. SMC 6 (1976).
    """

    rows: NDArray[np.float32]
    """Training rows of length 1, ``(n, d)``."""
    classes: Ids
    weights: Matrix
    """Of the training rows, ``(n,)``."""
    neighbours: int
    decay: float
    prior: float

    @cached_property
    def _columns(self) -> Matrix:
        """The rows turned into columns, in the precision of the product."""
        return np.asarray(self.rows.T, dtype=np.float64)

    @classmethod
    def fit(cls, config: EmbeddingConfig, rows: HeadRows) -> Self:
        """Keep all rows, and choose decay and prior by each row's neighbours of other groups."""
        unit, weights = _to_unit(rows.matrix).astype(np.float32), _row_weights(config, rows.classes)
        count = min(config.neighbours, len(unit))
        # Through float32, as the rows are kept.
        near, cosines = _find_nearest(unit, unit.T.astype(np.float64), count, rows.groups)
        best: tuple[float, float, float] | None = None
        for decay in _DECAYS:
            votes = _count_votes(near, cosines, decay, weights, rows.classes)
            for prior in _PRIOR_ROWS:
                shares = _shares(votes, prior)[np.arange(len(unit)), rows.classes]
                loss = -float(weights @ np.log(np.maximum(shares, 1e-12)))
                if best is None or loss < best[0]:
                    best = loss, decay, prior
        assert best is not None
        return cls(unit, rows.classes, weights, count, best[1], best[2])

    def predict_proba(self, matrix: Any) -> Matrix:
        """Probabilities ``(n, k)``."""
        near, cosines = _find_nearest(_to_unit(matrix), self._columns, self.neighbours)
        return _shares(_count_votes(near, cosines, self.decay, self.weights, self.classes), self.prior)


def _to_unit(matrix: Any) -> Matrix:
    rows = np.asarray(matrix, dtype=np.float64)
    unit: Matrix = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _row_weights(config: EmbeddingConfig, classes: Ids) -> Matrix:
    return balance_weights(classes) if config.balanced else np.ones(len(classes))


def _groups(groups: Ids) -> Iterator[Ids]:
    """The rows of each group."""
    order = np.argsort(groups, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _shrink(sums: Matrix, counts: Matrix, shrinkage: float) -> Matrix:
    """Class means drawn to the centre of the classes that have rows; one without rows lies there."""
    present = counts > 0
    centre = (sums[present] / counts[present, None]).mean(axis=0) if present.any() else np.zeros(sums.shape[1])
    # A class left without rows is all centre, also without shrinkage.
    extra = np.where(present, shrinkage, 1.0)[:, None]
    means: Matrix = (sums + extra * centre) / (counts[:, None] + extra)
    return means


def _closeness(unit: Matrix, means: Matrix) -> Matrix:
    """Negative squared distances ``(n, k)``, but for what is the same for all classes."""
    close: Matrix = 2 * unit @ means.T - np.square(means).sum(axis=1)
    return close


def _fit_sharpness(logits: Matrix, classes: Ids, weights: Matrix) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log_sharpness: float) -> float:
        chances = _softmax(np.exp(log_sharpness) * logits)[np.arange(len(classes)), classes]
        return -float(weights @ np.log(np.maximum(chances, 1e-300)))

    return float(np.exp(minimize_scalar(loss, bounds=_SHARPNESS, method="bounded").x))


def _softmax(logits: Matrix) -> Matrix:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances: Matrix = raised / raised.sum(axis=1, keepdims=True)
    return chances


def _find_nearest(
    asked: NDArray[Any], columns: Matrix, count: int, groups: Ids | None = None
) -> tuple[Ids, Matrix]:
    """Numbers and cosines ``(n, count)`` of the nearest rows; with ``groups``, the own group's have -inf."""
    near = np.empty((len(asked), count), dtype=np.int64)
    cosines = np.empty((len(asked), count))
    for start in range(0, len(asked), _BLOCK):
        block = slice(start, start + _BLOCK)
        # In float64: rows must be ranked alike whatever else is asked in the same product.
        close = asked[block].astype(np.float64) @ columns
        if groups is not None:
            close[groups[block, None] == groups[None, :]] = -np.inf
        # Of equal rows the first wins, whichever way the last bits were rounded.
        ranked = np.arange(columns.shape[1]) * _TIE - close.round(9)
        near[block] = np.argpartition(ranked, count - 1, axis=1)[:, :count]
        cosines[block] = np.take_along_axis(close, near[block], axis=1)
    return near, cosines


def _count_votes(near: Ids, cosines: Matrix, decay: float, weights: Matrix, classes: Ids) -> Matrix:
    """Weights of the neighbours of each class, ``(n, k)``."""
    # A row of the own group, at -inf, has no vote even where distance does not count.
    fading = np.where(np.isfinite(cosines), np.exp(-decay * (1 - np.maximum(cosines, -1.0))), 0.0)
    votes = np.zeros((len(near), int(classes.max()) + 1))
    for number in range(near.shape[1]):
        one = near[:, number]
        votes[np.arange(len(near)), classes[one]] += fading[:, number] * weights[one]
    return votes


def _shares(votes: Matrix, prior: float) -> Matrix:
    shares: Matrix = (votes + prior / votes.shape[1]) / (votes.sum(axis=1, keepdims=True) + prior)
    return shares


def _fit_logreg(config: EmbeddingConfig, seed: int, rows: HeadRows) -> Head:
    from sklearn.linear_model import LogisticRegression

    weight = "balanced" if config.balanced else None
    head = LogisticRegression(C=config.c, class_weight=weight, max_iter=3000, random_state=seed)
    fitted: Head = head.fit(rows.matrix, rows.classes)
    return fitted


def _fit_svc(config: EmbeddingConfig, seed: int, rows: HeadRows) -> Head:
    """Fit the kernel machine on all rows, and the logistic of its margin on grouped held-out folds."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    length = float(np.square(rows.matrix).sum()) / len(rows.classes)  # mean squared; each block adds its own
    svc = SVC(C=config.c, gamma=config.gamma / max(length, 1e-9), random_state=seed)
    splits = grouped_folds(rows.groups, rows.classes, 3, seed)
    head = CalibratedClassifierCV(svc, method="sigmoid", cv=splits, ensemble=False)
    # Weights rather than class_weight: the logistic must see the classes as even as the machine does.
    head.fit(rows.matrix, rows.classes, sample_weight=balance_weights(rows.classes) if config.balanced else None)
    head.cv = None  # the folds' row numbers are of no use to a saved model
    fitted: Head = head
    return fitted
