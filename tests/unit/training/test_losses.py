"""The loss against plain NumPy, and its weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.training import TrainConfig, WeightedCrossEntropy, balanced_weights, make_loss


def plain_loss(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, smoothing: float) -> float:
    """Weighted cross entropy with label smoothing, written out."""
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    total, classes = 0.0, logits.shape[1]
    for row, target in enumerate(targets):
        total -= (1 - smoothing) * weights[target] * logs[row, target]
        total -= smoothing / classes * sum(weights[at] * logs[row, at] for at in range(classes))
    return total / weights[targets].sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_equals_plain_numpy(smoothing: float) -> None:
    import torch

    random = np.random.default_rng(0)
    logits, targets, weights = random.normal(size=(7, 3)), random.integers(0, 3, 7), np.array([0.5, 1.0, 4.0])
    given_loss = WeightedCrossEntropy(weights, smoothing)(torch.tensor(logits), torch.tensor(targets))
    assert float(given_loss) == pytest.approx(plain_loss(logits, targets, weights, smoothing), rel=1e-5)


def test_weights_changed_in_place_change_the_loss() -> None:
    import torch

    loss = WeightedCrossEntropy(np.ones(2))
    logits, targets = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
    before = float(loss(logits, targets))
    loss.set_weights([1, 3])
    assert float(loss(logits, targets)) > before


def test_half_precision_logits_are_reckoned_in_float32() -> None:
    import torch

    loss = WeightedCrossEntropy(np.ones(2))(torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([0]))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(np.log(2))


def test_one_step_lowers_the_loss() -> None:
    import torch

    logits = torch.zeros(4, 3, requires_grad=True)
    loss, targets = WeightedCrossEntropy(np.array([1.0, 2.0, 3.0]), 0.1), torch.tensor([0, 1, 2, 1])
    before = loss(logits, targets)
    before.backward()
    assert logits.grad is not None
    assert loss(logits.detach() - 0.1 * logits.grad, targets) < before


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array))
def test_balanced_weights_give_every_present_class_the_same_total(targets: np.ndarray) -> None:
    weights = balanced_weights(targets, 4)
    counts = np.bincount(targets, minlength=4)
    totals = (weights * counts)[counts > 0]
    assert np.allclose(totals, totals[0])
    assert weights[targets].mean() == pytest.approx(1)
    assert (weights[counts == 0] == 1).all()


def test_configuration_chooses_weights_and_smoothing() -> None:
    targets = np.array([0, 0, 0, 1])
    assert make_loss(TrainConfig(class_weights="none"), targets, 2).weights.tolist() == [1, 1]
    balanced = make_loss(TrainConfig(label_smoothing=0.1), targets, 2)
    assert balanced.weights.tolist() == pytest.approx([2 / 3, 2])
    assert isinstance(balanced, WeightedCrossEntropy)
    assert balanced.label_smoothing == 0.1
