"""How the answers of members become one: votes, weights on the simplex, and a logistic regression on top.

``probabilities`` are the members' own everywhere, ``(m, n, k)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.metrics import PROBABILITY_FLOOR, security_scores
from demur.tasks import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_MOST_WEIGHTS = 2000
_FINEST = 40
_CHUNK_CELLS = 2_000_000


def vote_soft(probabilities: FloatArray) -> FloatArray:
    """The mean probability, ``(n, k)``."""
    mean: FloatArray = probabilities.mean(axis=0)
    return mean


def vote_hard(probabilities: FloatArray) -> FloatArray:
    """The share of votes, ``(n, k)``, where the mean probability is one vote more, split between the classes.

    That vote breaks ties and can overturn no majority.
    """
    members, _, k = probabilities.shape
    votes = np.eye(k)[probabilities.argmax(axis=2)].sum(axis=0)
    share: FloatArray = (votes + vote_soft(probabilities)) / (members + 1)
    return share


def mix(weights: FloatArray, probabilities: FloatArray) -> FloatArray:
    """The mean probability under weights ``(m,)`` that sum to 1, ``(n, k)``."""
    return np.asarray(np.tensordot(weights, probabilities, axes=1))


def weigh_by_loss(y: IntArray, probabilities: FloatArray) -> FloatArray:
    """The weights ``(m,)`` of least log loss of the mixture, a convex problem.

    References
    ----------
    Wolpert, Stacked generalization, Neural Networks 5, 1992; Breiman, Stacked regressions, Machine Learning 24,
    1996, for weights that are not negative; Yao et al., Using stacking to average Bayesian predictive
    distributions, Bayesian Analysis 13, 2018, section 2.2, for the log score on the simplex.
    """
    from scipy.optimize import minimize

    members = len(probabilities)
    given = probabilities[:, np.arange(len(y)), y].T  # (n, m)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        mixed = np.maximum(given @ weights, PROBABILITY_FLOOR)
        return float(-np.log(mixed).mean()), -(given / mixed[:, None]).mean(axis=0)

    found = minimize(
        loss,
        np.full(members, 1 / members),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(members)},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    weights = np.clip(found.x, 0, None)
    weights[weights < 1e-6] = 0
    return np.asarray(weights / weights.sum())


def weigh_by_score(task: Task, y: IntArray, probabilities: FloatArray) -> FloatArray:
    """The weights ``(m,)`` of highest security score on a lattice of the simplex; of equals the most even ones."""
    lattice = simplex_lattice(len(probabilities))
    size = max(1, _CHUNK_CELLS // probabilities[0].size)
    scores = np.concatenate(
        [_scores(task, y, probabilities, lattice[at : at + size]) for at in range(0, len(lattice), size)]
    )
    best = lattice[scores >= scores.max() - 1e-12]
    return np.asarray(best[np.square(best).sum(axis=1).argmin()])


def simplex_lattice(members: int) -> FloatArray:
    """Evenly spaced weights that sum to 1, ``(w, m)``, as fine as a few thousand allow, and the even ones."""
    steps = max(
        steps
        for steps in range(1, _FINEST + 1)
        if steps == 1 or comb(steps + members - 1, members - 1) <= _MOST_WEIGHTS
    )
    bars = np.array(list(combinations(range(steps + members - 1), members - 1)))  # (w, m - 1)
    edges = np.column_stack([np.full(len(bars), -1), bars, np.full(len(bars), steps + members - 1)])
    return np.vstack([(np.diff(edges, axis=1) - 1) / steps, np.full(members, 1 / members)])


def _scores(task: Task, y: IntArray, probabilities: FloatArray, weights: FloatArray) -> FloatArray:
    k = probabilities.shape[2]
    chosen = np.tensordot(weights, probabilities, axes=1).argmax(axis=2)  # (w, n)
    cells = np.arange(len(weights))[:, None] * k * k + y * k + chosen
    confusion = np.bincount(cells.ravel(), minlength=len(weights) * k * k).reshape(-1, k, k).astype(np.float64)
    present = np.bincount(y, minlength=k) > 0
    return security_scores(task, confusion, present)


@dataclass(frozen=True)
class Stack:
    """A logistic regression on the members' probabilities, as plain numbers."""

    classes: tuple[int, ...]
    """The classes it learned; others get no probability."""
    k: int
    slopes: FloatArray
    """``(classes, m * k)``, the members' columns one after the other."""
    intercepts: FloatArray

    def apply(self, probabilities: FloatArray) -> FloatArray:
        """Probabilities of the whole, ``(n, k)``."""
        logits = stack_columns(probabilities) @ self.slopes.T + self.intercepts
        inside = np.exp(logits - logits.max(axis=1, keepdims=True))
        mapped = np.zeros((len(inside), self.k))
        mapped[:, self.classes] = inside / inside.sum(axis=1, keepdims=True)
        return mapped

    def to_json(self) -> dict[str, Any]:
        """As plain values; :meth:`from_json` gives the very same regression."""
        return {
            "classes": list(self.classes),
            "k": self.k,
            "slopes": self.slopes.tolist(),
            "intercepts": self.intercepts.tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Stack:
        """Read back what :meth:`to_json` gave."""
        return cls(
            tuple(values["classes"]), values["k"], np.array(values["slopes"]), np.array(values["intercepts"])
        )


def fit_stack(y: IntArray, probabilities: FloatArray, c: float, balanced: bool) -> Stack:
    """Learn the regression on out-of-fold probabilities of at least two classes.

    References
    ----------
    Wolpert, Stacked generalization, Neural Networks 5, 1992; Ting and Witten, Issues in stacked generalization,
    J. Artif. Intell. Res. 10, 1999, section 3, for class probabilities under a linear model.
    """
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression(C=c, class_weight="balanced" if balanced else None, max_iter=5000, tol=1e-8)
    head.fit(stack_columns(probabilities), y)
    slopes, intercepts = head.coef_, head.intercept_
    if len(slopes) == 1:  # one row of log odds for two classes
        slopes, intercepts = np.vstack([0 * slopes, slopes]), np.append(0.0, intercepts)
    return Stack(tuple(int(one) for one in head.classes_), probabilities.shape[2], slopes, intercepts)


def stack_columns(probabilities: FloatArray) -> FloatArray:
    """The members' probabilities side by side, ``(n, m * k)``."""
    members, n, k = probabilities.shape
    return probabilities.transpose(1, 0, 2).reshape(n, members * k)
