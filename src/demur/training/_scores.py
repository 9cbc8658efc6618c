"""What a checkpoint is chosen by: the score of validation rows, and how jumpy scores are steadied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from demur.metrics import security_score

if TYPE_CHECKING:
    from demur.tasks import Task

ValidationScore = Callable[[NDArray[np.int64], Any], float]
"""From true class ids ``(n,)`` and probabilities ``(n, k)`` to the figure whose best checkpoint is kept; with
heads, from class ids ``(n, heads)`` and a mapping from head to probabilities."""
_RECENT = (4.0, 2.0, 1.0)
"""Weights of a score and of those before it in a smoothed score."""
_TIE = 1e-6
"""How much the loss may matter beside the score: less than any row does."""
_FEW, _SMALL = 5, 0.05
"""A class of so many validation rows, and of such a share of them, must be named by a checkpoint worth keeping."""


def validation_score(task: Task) -> ValidationScore:
    """The task's security score of the most probable classes; 0 where a class of some size is never named.

    A network at its start names one class or two, and errors it cannot make may then cost less than those of one
    that has begun to learn: without a word of hard refusal nothing is wrongly called one. Such an epoch must not
    be the one that is kept.
    """

    def score(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
        classes = probabilities.shape[1]
        common = np.bincount(targets, minlength=classes) >= max(_FEW, _SMALL * len(targets))
        called = probabilities.argmax(axis=1)
        named = np.bincount(called, minlength=classes) > 0
        return 0.0 if (common & ~named).any() else security_score(task, targets, called).value

    return score


def multi_task_score(heads: Mapping[str, Task]) -> ValidationScore:
    """The mean of the heads' :func:`validation_score`, over heads of which a validation row has a label.

    Parameters
    ----------
    heads
        The task of each head, in the order of the columns of the targets.
    """

    def score(targets: NDArray[np.int64], probabilities: Mapping[str, NDArray[np.float64]]) -> float:
        found = []
        for column, (name, task) in enumerate(heads.items()):
            known = targets[:, column] >= 0
            if known.any():
                found.append(validation_score(task)(targets[known, column], probabilities[name][known]))
        return float(np.mean(found)) if found else 0.0

    return score


def choice_figure(scores: Sequence[float], loss: float, choose: Literal["smoothed", "score"]) -> float:
    """The figure that chooses between checkpoints and ends a training.

    Parameters
    ----------
    scores
        The validation scores so far, the newest last.
    loss
        The newest validation loss; lower is better between equal scores.
    choose
        ``score`` takes the newest score as it is. ``smoothed`` takes its mean with the two before it, weighted
        4:2:1: on few rows one lucky validation of a model that is not better outshines all others.
    """
    recent = list(scores[-1 : -1 - len(_RECENT) : -1] if choose == "smoothed" else scores[-1:])
    steady = float(np.average(recent, weights=_RECENT[: len(recent)]))
    return steady - _TIE * loss / (1 + loss)


def softmax(logits: Any) -> Any:
    """Probabilities from logits ``(n, k)``, or of each head from a mapping of logits."""
    if isinstance(logits, Mapping):
        return {name: softmax(values) for name, values in logits.items()}
    values = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
