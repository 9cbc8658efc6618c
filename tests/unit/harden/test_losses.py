"""Every loss against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demur.harden import _losses as losses


@pytest.fixture
def states() -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    adapted, base = random.normal(size=(2, 7, 5)).astype(np.float32)
    return torch.from_numpy(adapted), torch.from_numpy(base)


def numpy_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


def test_rerouting_is_the_sum_of_the_positive_cosines(states: tuple[torch.Tensor, torch.Tensor]) -> None:
    cosine = numpy_cosines(*(one.numpy() for one in states))
    assert (cosine < 0).any()
    assert losses.rerouting_sum(*states).item() == pytest.approx(np.maximum(cosine, 0).sum(), rel=1e-5)


def test_rerouting_gives_no_gradient_beyond_orthogonality(states: tuple[torch.Tensor, torch.Tensor]) -> None:
    adapted, base = states
    adapted.requires_grad_()
    losses.rerouting_sum(adapted, base).backward()
    opposed = numpy_cosines(adapted.detach().numpy(), base.numpy()) < 0
    pushed = adapted.grad.abs().sum(-1).numpy() > 0
    np.testing.assert_array_equal(pushed, ~opposed)


def test_distance_is_the_sum_of_the_l2_norms(states: tuple[torch.Tensor, torch.Tensor]) -> None:
    adapted, base = (one.numpy() for one in states)
    wanted = np.sqrt(((adapted - base) ** 2).sum(-1)).sum()
    assert losses.distance_sum(*states).item() == pytest.approx(wanted, rel=1e-5)


def test_the_gradient_of_no_distance_is_zero_and_not_nan(states: tuple[torch.Tensor, torch.Tensor]) -> None:
    base = states[1]
    adapted = base.clone().requires_grad_()
    losses.distance_sum(adapted, base).backward()
    assert torch.equal(adapted.grad, torch.zeros_like(base))


def test_a_random_vector_is_approached_in_direction_only(states: tuple[torch.Tensor, torch.Tensor]) -> None:
    adapted, base = (one.numpy() for one in states)
    direction = base[0] / np.linalg.norm(base[0])
    unit = adapted / np.linalg.norm(adapted, axis=-1, keepdims=True)
    wanted = np.linalg.norm(unit - direction, axis=-1).sum()
    found = losses.random_vector_sum(states[0], torch.from_numpy(direction))
    assert found.item() == pytest.approx(wanted, rel=1e-5)
    assert losses.random_vector_sum(states[0] * 9, torch.from_numpy(direction)).item() == pytest.approx(
        wanted, rel=1e-4
    )


def test_the_probe_loss_is_minus_the_log_probability_of_harmless(
    states: tuple[torch.Tensor, torch.Tensor],
) -> None:
    adapted, base = (one.numpy() for one in states)
    harmful = 1 / (1 + np.exp(-(adapted @ base[0] + 0.3)))
    found = losses.probe_sum(states[0], states[1][0], torch.tensor(0.3))
    assert found.item() == pytest.approx(-np.log(1 - harmful).sum(), rel=1e-5)


def test_half_precision_states_are_compared_in_float32() -> None:
    base = torch.full((1, 4096), 30.0, dtype=torch.bfloat16)
    adapted = base + 0.25
    assert losses.distance_sum(adapted, base).dtype == torch.float32
    assert losses.rerouting_sum(adapted, base).item() == pytest.approx(1.0, abs=1e-6)


def test_a_small_turn_keeps_its_digits() -> None:
    from demur.harden._losses import turns

    angle = 1e-5
    base = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    adapted = torch.tensor([[np.cos(angle), np.sin(angle)], [-3.0, 0.0]], dtype=torch.float64)
    found = turns(adapted, base).numpy()
    np.testing.assert_allclose(found, [angle**2 / 2, 1.0], rtol=1e-6)
