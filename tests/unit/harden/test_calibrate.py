"""Scales, random directions and probes, measured once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from demur.harden import LoraSettings
from demur.harden._blocks import attach_lora, find_stack
from demur.harden._calibrate import calibrate, fit_probe
from demur.harden._module import BreakerModule, StatePlan
from demur.harden._pairs import PairCollator, TokenPair, TokenRow

Make = Callable[..., Any]
PLAN = StatePlan(targets=(2,), retained=(1, 2), blocks=2, faithful=False)


@pytest.fixture
def batches() -> list[dict[str, torch.Tensor]]:
    random = np.random.default_rng(0)

    def row(first: int, length: int) -> TokenRow:
        ids = random.integers(first, first + 100, length).astype(np.int32)
        return TokenRow(ids, np.arange(length) > 2)

    pairs = [TokenPair(row(3, 6 + n), row(120, 12 - n)) for n in range(6)]
    return [PairCollator(0)(pairs[:4]), PairCollator(0)(pairs[4:])]


def build(make_model: Make, objective: str = "rerouting", plan: StatePlan = PLAN) -> BreakerModule:
    model = make_model()
    return BreakerModule(attach_lora(model, find_stack(model), plan.blocks, LoraSettings(rank=2)), plan, objective)


def test_scales_are_the_mean_norms_of_retain_tokens(make_model: Make, batches: list[dict[str, Any]]) -> None:
    module = build(make_model)
    calibrate(module, batches, 0)
    norms: dict[int, list[float]] = {1: [], 2: []}
    for batch in batches:
        with torch.no_grad():
            states = make_model()(
                batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
            ).hidden_states
        kept = batch["tokens"] & ~batch["is_breaker"][:, None]
        for layer, found in norms.items():
            found += np.linalg.norm(states[layer][kept].numpy(), axis=-1).tolist()
    np.testing.assert_allclose(module.scales.numpy(), [np.mean(norms[1]), np.mean(norms[2])], rtol=1e-5)


def test_the_faithful_loss_is_left_absolute(make_model: Make, batches: list[dict[str, Any]]) -> None:
    module = build(make_model, plan=StatePlan((2,), (1, 2, 3), 3, True))
    calibrate(module, batches, 0)
    assert module.scales.tolist() == [1, 1, 1]


def test_random_directions_are_unit_vectors_of_the_seed(make_model: Make, batches: list[dict[str, Any]]) -> None:
    found = []
    for seed in (0, 0, 1):
        module = build(make_model, "random_vector")
        calibrate(module, batches, seed)
        found.append(module.directions.numpy().copy())
    np.testing.assert_allclose(np.linalg.norm(found[0], axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_a_probe_tells_the_two_kinds_apart_on_states_as_they_are() -> None:
    random = np.random.default_rng(0)
    retain = random.normal(5, 3, (200, 6)).astype(np.float32)
    breaker = (random.normal(5, 3, (100, 6)) + np.array([9, 0, 0, 0, 0, 0])).astype(np.float32)
    weight, bias = fit_probe(retain, breaker)
    assert ((breaker @ weight + bias) > 0).mean() > 0.85
    assert ((retain @ weight + bias) < 0).mean() > 0.85
    assert weight[0] > abs(weight[1:]).max()


def test_a_probe_is_fitted_for_each_target(make_model: Make, batches: list[dict[str, Any]]) -> None:
    module = build(make_model, "probe")
    calibrate(module, batches, 0)
    assert module.directions.abs().sum() > 0
    assert module.biases.abs().sum() > 0


def test_a_nudge_that_half_precision_hides_is_made_to_show(
    make_model: Make, batches: list[dict[str, Any]]
) -> None:
    from demur.harden._blocks import nudge_adapters
    from demur.harden._calibrate import settle_nudge

    model = make_model().to(torch.bfloat16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wrapped = attach_lora(model, find_stack(model), 2, LoraSettings(rank=2))
        nudge_adapters(wrapped, 1e-6)
    module = BreakerModule(wrapped, PLAN)
    # Roundings that fall otherwise, and no effect of the adapters.
    assert settle_nudge(module, batches[0], moved=0.0) < 2**-8
    found = settle_nudge(module, batches[0])
    assert 2**-6 <= found < 2**-2


def test_a_nudge_that_shows_stays_as_it_is(make_model: Make, batches: list[dict[str, Any]]) -> None:
    from demur.harden._blocks import nudge_adapters
    from demur.harden._calibrate import settle_nudge

    module = build(make_model)
    nudge_adapters(module.model, 0.5)
    before = {name: one.clone() for name, one in module.named_parameters()}
    settle_nudge(module, batches[0])
    assert all(torch.equal(one, before[name]) for name, one in module.named_parameters())
