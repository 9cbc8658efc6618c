"""Losses over logits ``(n, k)`` and class ids ``(n,)``; imported only where torch is needed.

A loss of classes is a :class:`ClassLoss`: it holds one weight a class in a buffer that may be changed in place
while a model trains. The others put such losses together: over several heads, or with a teacher's answers.
Another loss of classes is one more subclass here and one more line in :func:`make_loss`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from demur.errors import ConfigError
from demur.training._balance import balanced_weights, default_alpha

if TYPE_CHECKING:
    from demur.tasks import Task
    from demur.training._config import TrainConfig

Logits = torch.Tensor | Mapping[str, torch.Tensor]
NO_LABEL = -100
"""The class id of a row whose label is not known."""


class Loss(Protocol):
    """A scalar loss of logits, class ids, and, where a teacher answered, its probabilities ``(n, k)``."""

    def __call__(self, logits: Logits, targets: torch.Tensor, soft: torch.Tensor | None = None) -> torch.Tensor:
        """The mean loss of a batch."""
        ...

    def class_losses(self) -> Mapping[str, ClassLoss]:
        """The losses of classes it is made of, by head; the only one is called ``""``."""
        ...


class ClassLoss(nn.Module):
    """A loss with one weight a class, in float32 under any autocast.

    Parameters
    ----------
    weights
        One weight a class, ``(k,)``. Held as the buffer ``weights``, which every call reads:
        :meth:`set_weights` adapts the loss in place, on whatever device it is.
    label_smoothing
        Share of the target spread evenly over all classes, in 0..1.

    Notes
    -----
    The weighted sum is divided by the sum of the weights of the batch's rows, as in
    ``torch.nn.functional.cross_entropy``. Rows with target -100 are left out; with none left the loss is 0.
    """

    weights: torch.Tensor

    def __init__(self, weights: ArrayLike, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(np.asarray(weights), dtype=torch.float32))
        self.label_smoothing = label_smoothing

    def extra_repr(self) -> str:
        """What distinguishes it from another of its kind."""
        return f"weights={self.weights.tolist()}, label_smoothing={self.label_smoothing}"

    def set_weights(self, weights: ArrayLike) -> None:
        """Overwrite the class weights ``(k,)`` in place."""
        with torch.no_grad():
            self.weights.copy_(torch.as_tensor(np.array(weights), dtype=self.weights.dtype))

    def class_losses(self) -> Mapping[str, ClassLoss]:
        """Itself, as the only one."""
        return {"": self}

    def forward(
        self, logits: torch.Tensor, targets: torch.Tensor, soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The weighted mean loss of a batch, a scalar; a teacher's probabilities are not looked at."""
        return divide(*self.sums(logits, targets))

    def sums(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum of the rows' losses and the sum of their weights, two scalars."""
        known = targets != NO_LABEL
        rows = self.row_losses(logits.float(), targets.clamp_min(0))  # (n,)
        weights = self.weights[targets.clamp_min(0)]
        zero = torch.zeros_like(rows)
        return torch.where(known, rows, zero).sum(), torch.where(known, weights, zero).sum()

    @abstractmethod
    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of each row times the weight of its class, ``(n,)``, of float32 logits."""


class WeightedCrossEntropy(ClassLoss):
    """Cross entropy with class weights and label smoothing."""

    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The weighted cross entropy of each row, ``(n,)``."""
        return nn.functional.cross_entropy(
            logits, targets, weight=self.weights, reduction="none", label_smoothing=self.label_smoothing
        )


class FocalLoss(ClassLoss):
    """Cross entropy times ``(1 - p)^gamma``: rows that are already judged well hardly count.

    Parameters
    ----------
    weights
        The class weights alpha, ``(k,)``.
    gamma
        How sharply easy rows are discounted; 0 gives the weighted cross entropy.
    label_smoothing
        Share of the target spread evenly over all classes; every class then adds its own focal term.

    References
    ----------
    Lin et al., "Focal loss for dense object detection", ICCV 2017, equation 5.
    """

    def __init__(self, weights: ArrayLike, gamma: float = 3.0, label_smoothing: float = 0.0) -> None:
        super().__init__(weights, label_smoothing)
        self.gamma = gamma

    def extra_repr(self) -> str:
        """What distinguishes it from another of its kind."""
        return f"{super().extra_repr()}, gamma={self.gamma}"

    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The focal loss of each row, ``(n,)``."""
        logs = logits.log_softmax(dim=-1)
        # A gamma below 1 has an infinite slope where 1 - p is 0.
        doubts = (-torch.expm1(logs)).clamp_min(1e-7) ** self.gamma
        terms = -self.weights * doubts * logs  # (n, k)
        hard = terms.gather(1, targets[:, None])[:, 0]
        return (1 - self.label_smoothing) * hard + self.label_smoothing * terms.mean(dim=1)


class MultiTaskLoss(nn.Module):
    """The losses of several heads, where a row may lack the labels of some of them.

    Parameters
    ----------
    losses
        A loss for each head, in the order of the columns of the targets.
    shares
        How much a label of each head counts; 1 where absent.

    Notes
    -----
    The mean over the labels of the batch, each weighted by its class weight and its head's share. So a row
    with two labels counts twice, one with none not at all, and a batch without a head's labels leaves that
    head alone.
    """

    def __init__(self, losses: Mapping[str, ClassLoss], shares: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self._names = tuple(losses)
        self._losses = nn.ModuleList(losses.values())
        self.shares = dict.fromkeys(losses, 1.0) | dict(shares or {})

    def extra_repr(self) -> str:
        """What distinguishes it from another of its kind."""
        return f"shares={self.shares}"

    def class_losses(self) -> Mapping[str, ClassLoss]:
        """The loss of each head."""
        return dict(zip(self._names, self._losses, strict=True))  # type: ignore[arg-type]

    def forward(self, logits: Logits, targets: torch.Tensor, soft: torch.Tensor | None = None) -> torch.Tensor:
        """The mean loss over the labels of a batch.

        Parameters
        ----------
        logits
            ``(n, k)`` of each head, by name; or one tensor with the heads' columns side by side.
        targets
            Class ids ``(n, heads)``, -100 where a label is missing.
        soft
            Not looked at.
        """
        split = split_heads(logits, {name: len(loss.weights) for name, loss in self.class_losses().items()})
        total, weight = targets.new_zeros((), dtype=torch.float32), targets.new_zeros((), dtype=torch.float32)
        for column, (name, loss) in enumerate(self.class_losses().items()):
            part, parts = loss.sums(split[name], targets[:, column])
            total, weight = total + self.shares[name] * part, weight + self.shares[name] * parts
        return divide(total, weight)


class DistillationLoss(nn.Module):
    """What the labels say and what a teacher's probabilities say, weighed against each other.

    Parameters
    ----------
    hard
        The loss of the labels.
    temperature
        Both sides' logits are divided by it, so that the teacher's small probabilities tell something.
    hard_share
        Weight of the labels' loss, in 0..1; the rest is the teacher's.

    Notes
    -----
    The teacher's part is ``T² · KL(teacher || student)`` at temperature T, whose gradient is that of the cross
    entropy; T² keeps its size when T changes. Rows without a label learn from the teacher alone, rows whose
    teacher probabilities are NaN from the label alone; without any teacher it is the labels' loss.

    References
    ----------
    Hinton et al., "Distilling the knowledge in a neural network", arXiv:1503.02531, section 2.
    """

    def __init__(self, hard: ClassLoss, temperature: float = 2.0, hard_share: float = 0.5) -> None:
        super().__init__()
        self.hard = hard
        self.temperature = temperature
        self.hard_share = hard_share

    def extra_repr(self) -> str:
        """What distinguishes it from another of its kind."""
        return f"temperature={self.temperature}, hard_share={self.hard_share}"

    def class_losses(self) -> Mapping[str, ClassLoss]:
        """The loss of the labels."""
        return self.hard.class_losses()

    def forward(
        self, logits: torch.Tensor, targets: torch.Tensor, soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss of a batch with the teacher's probabilities ``(n, k)``."""
        hard: torch.Tensor = self.hard(logits, targets)
        if soft is None:
            return hard
        known = soft.isfinite().all(dim=1)
        safe = torch.where(known[:, None], soft.float(), torch.full_like(soft, 1 / soft.shape[1]).float())
        wanted = (safe.clamp_min(1e-12).log() / self.temperature).log_softmax(dim=1)
        given = (logits.float() / self.temperature).log_softmax(dim=1)
        rows = (wanted.exp() * (wanted - given)).sum(dim=1) * known
        taught = divide(rows.sum(), known.sum()) * self.temperature**2
        return self.hard_share * hard + (1 - self.hard_share) * taught


def divide(total: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A weighted mean; 0 where nothing has weight, still joined to the graph."""
    return total / torch.where(weight > 0, weight, torch.ones_like(weight))


def split_heads(logits: Logits | Sequence[torch.Tensor], sizes: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Logits by head, from a mapping, a sequence in the order of ``sizes``, or one tensor ``(n, sum of k)``."""
    if isinstance(logits, Mapping):
        return {name: logits[name] for name in sizes}
    if isinstance(logits, torch.Tensor):
        logits = torch.split(logits, list(sizes.values()), dim=-1)
    return dict(zip(sizes, logits, strict=True))


def start_weights(
    config: TrainConfig, targets: NDArray[np.int64], classes: int, task: Task | None = None
) -> NDArray[np.float64]:
    """The class weights a training starts with, ``(k,)``: alpha times what ``class_weights`` asks for.

    Raises
    ------
    ConfigError
        ``alpha`` has not one weight for each class.
    """
    alpha = start_alpha(config, classes, task)
    is_balanced = config.class_weights == "balanced" or (
        config.class_weights in ("auto", "adaptive") and config.loss != "focal"
    )
    return alpha * balanced_weights(targets, classes) if is_balanced else alpha


def start_alpha(config: TrainConfig, classes: int, task: Task | None = None) -> NDArray[np.float64]:
    """The alpha a training starts with, ``(k,)``; where it adapts, within the bounds of ``balance``.

    Raises
    ------
    ConfigError
        ``alpha`` has not one weight for each class.
    """
    if config.alpha is not None and len(config.alpha) != classes:
        raise ConfigError(
            f"alpha has {len(config.alpha)} weights, but the task has {classes} classes; give one for each label",
            key="train.alpha",
        )
    if config.alpha is not None:
        alpha = np.array(config.alpha, dtype=np.float64)
    else:
        alpha = default_alpha(task) if config.loss == "focal" and task is not None else np.ones(classes)
    if config.class_weights == "adaptive":
        alpha = np.clip(alpha, config.balance.lowest, config.balance.highest)
    return alpha


def make_loss(
    config: TrainConfig, targets: NDArray[np.int64], classes: int, task: Task | None = None
) -> ClassLoss:
    """The loss that a training configuration asks for.

    Parameters
    ----------
    config
        Kind of loss, alpha, class weights, smoothing.
    targets
        The training rows' class ids ``(n,)``, for balanced weights; -100 is left out.
    classes
        How many classes the logits have.
    task
        Says which classes focal loss weighs more where the configuration gives no ``alpha``.
    """
    weights = start_weights(config, targets[targets != NO_LABEL], classes, task)
    if config.loss == "focal":
        return FocalLoss(weights, config.gamma, config.label_smoothing)
    return WeightedCrossEntropy(weights, config.label_smoothing)


def make_multi_loss(
    config: TrainConfig,
    targets: NDArray[np.int64],
    heads: Mapping[str, Task],
    shares: Mapping[str, float] | None = None,
) -> MultiTaskLoss:
    """The loss of several heads: each as :func:`make_loss` makes it from its column of targets ``(n, heads)``."""
    losses = {
        name: make_loss(config, targets[:, column], len(task.labels), task)
        for column, (name, task) in enumerate(heads.items())
    }
    return MultiTaskLoss(losses, shares)
