"""The step: against plain NumPy, against transformers, and which weights it reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from demur.harden import LoraSettings
from demur.harden._blocks import attach_lora, find_stack
from demur.harden._module import BreakerModule, Picks, StatePlan, plan_states

Make = Callable[..., Any]
SCALED = StatePlan(targets=(1, 2), retained=(1, 2), blocks=2, faithful=False)
FAITHFUL = StatePlan(targets=(1, 2), retained=(1, 2, 3), blocks=3, faithful=True)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Two retain and two breaker rows of 9, 5, 7, 3 tokens; the last ones of each count."""
    random = np.random.default_rng(0)
    lengths = np.array([9, 5, 7, 3])
    mask = np.arange(9) < lengths[:, None]
    return {
        "input_ids": torch.from_numpy(np.where(mask, random.integers(3, 250, (4, 9)), 0)),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        "tokens": torch.from_numpy(mask & (np.arange(9) >= lengths[:, None] - 3)),
        "is_breaker": torch.tensor([False, False, True, True]),
    }


@pytest.fixture
def make_module(make_model: Make) -> Make:
    """Maker of modules whose adapters already do something: ``make_module(plan, objective)``."""

    def make(plan: StatePlan = SCALED, objective: str = "rerouting", dropout: float = 0.0) -> BreakerModule:
        model = make_model()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            wrapped = attach_lora(model, find_stack(model), plan.blocks, LoraSettings(rank=4, dropout=dropout))
            for name, one in wrapped.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(one, std=0.1)
        return BreakerModule(wrapped, plan, objective)

    return make


def all_states(module: BreakerModule, batch: dict[str, torch.Tensor]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Adapted and base states 0..3 by transformers itself."""
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        adapted = module.model(**given, output_hidden_states=True).hidden_states
        with module.model.disable_adapter():
            base = module.model(**given, output_hidden_states=True).hidden_states
    return [one.numpy() for one in adapted], [one.numpy() for one in base]


def numpy_losses(module: BreakerModule, batch: dict[str, torch.Tensor], layers: list[int]) -> tuple[float, float]:
    """Sums of the rerouting and the retain loss, straight from their formulas."""
    adapted, base = all_states(module, batch)
    counts, is_breaker = batch["tokens"].numpy(), batch["is_breaker"].numpy()
    broken, kept = counts & is_breaker[:, None], counts & ~is_breaker[:, None]
    breaker = 0.0
    for layer in (1, 2):
        a, b = adapted[layer][broken], base[layer][broken]
        cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
        breaker += np.maximum(cosine, 0).sum() / 2
    retain = sum(np.linalg.norm(adapted[layer][kept] - base[layer][kept], axis=-1).sum() for layer in layers)
    return breaker, retain / len(layers)


def test_both_losses_are_those_of_plain_numpy(make_module: Make, batch: dict[str, torch.Tensor]) -> None:
    module = make_module()
    breaker, retain = numpy_losses(module, batch, [1, 2])
    found = module(**batch, weights=torch.tensor([0.5, 0.25]))
    assert found["breaker"].item() == pytest.approx(0.5 * breaker, rel=1e-4)
    assert found["retain"].item() == pytest.approx(0.25 * retain, rel=1e-4)
    assert found["loss"].item() == pytest.approx(0.5 * breaker + 0.25 * retain, rel=1e-4)


def test_the_faithful_loss_takes_embedding_and_the_normed_block_above(
    make_module: Make, batch: dict[str, torch.Tensor]
) -> None:
    module = make_module(FAITHFUL)
    # transformers norms its last state, and three blocks are all there are.
    breaker, retain = numpy_losses(module, batch, [0, 1, 2, 3])
    found = module(**batch, weights=torch.ones(2))
    assert found["breaker"].item() == pytest.approx(breaker, rel=1e-4)
    assert found["retain"].item() == pytest.approx(retain, rel=1e-4)


def test_each_layers_retain_loss_is_relative_to_its_scale(
    make_module: Make, batch: dict[str, torch.Tensor]
) -> None:
    module = make_module()
    parts = [2 * numpy_losses(module, batch, [1, 2])[1] - numpy_losses(module, batch, [2])[1]]
    parts.append(numpy_losses(module, batch, [2])[1])
    module.scales.copy_(torch.tensor([4.0, 0.5]))
    found = module(**batch, weights=torch.ones(2))
    assert found["retain"].item() == pytest.approx((parts[0] / 4 + parts[1] / 0.5) / 2, rel=1e-4)


@pytest.mark.parametrize("plan", [SCALED, FAITHFUL], ids=["scaled", "faithful"])
def test_states_with_adapters_off_are_the_base_models_bit_for_bit(
    make_module: Make, make_model: Make, batch: dict[str, torch.Tensor], plan: StatePlan
) -> None:
    module = make_module(plan, dropout=0.5).train()
    picks = Picks.of(batch["tokens"], batch["is_breaker"])
    found = module.trace(batch, picks, dict.fromkeys(plan.retained, (True, True)))
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        wanted = make_model()(**given, output_hidden_states=True).hidden_states
    kept = batch["tokens"] & ~batch["is_breaker"][:, None]
    broken = batch["tokens"] & batch["is_breaker"][:, None]
    for state in plan.retained:
        assert torch.equal(found[state][0], wanted[state][kept])
        assert torch.equal(found[state][1], wanted[state][broken])


def test_the_adapters_are_on_again_after_the_base_pass(make_module: Make, batch: dict[str, torch.Tensor]) -> None:
    module = make_module()
    trained = [name for name, one in module.named_parameters() if one.requires_grad]
    module(**batch, weights=torch.ones(2))
    assert module.model.get_model_status().enabled is True
    assert [name for name, one in module.named_parameters() if one.requires_grad] == trained


def test_the_breaker_loss_alone_reaches_every_adapter_of_the_trained_blocks_and_nothing_else(
    make_module: Make, batch: dict[str, torch.Tensor]
) -> None:
    module = make_module()
    module(**batch, weights=torch.tensor([1.0, 0.0]))["loss"].backward()
    reached = {
        name for name, one in module.named_parameters() if one.grad is not None and one.grad.abs().sum() > 0
    }
    adapters = {name for name, _ in module.named_parameters() if ".lora_" in name}
    assert reached == adapters
    assert {name.split("layers.")[1][0] for name in adapters} == {"0", "1"}


def test_in_the_faithful_setting_the_block_above_gets_no_breaker_gradient(
    make_module: Make, batch: dict[str, torch.Tensor]
) -> None:
    """Why the recommended setting leaves that block out."""
    module = make_module(FAITHFUL)
    module(**batch, weights=torch.tensor([1.0, 0.0]))["loss"].backward()
    for name, one in module.named_parameters():
        if ".lora_" in name:
            assert (one.grad.abs().sum() > 0) == ("layers.2." not in name)


@pytest.mark.parametrize("weights", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_a_coefficient_of_exactly_zero_works(
    make_module: Make, batch: dict[str, torch.Tensor], weights: tuple[float, float]
) -> None:
    module = make_module()
    loss = module(**batch, weights=torch.tensor(weights))["loss"]
    loss.backward()
    assert loss.isfinite()
    grads = [one.grad for one in module.parameters() if one.grad is not None]
    assert grads
    assert all(one.isfinite().all() for one in grads)


def test_untouched_adapters_have_a_finite_gradient(make_model: Make, batch: dict[str, torch.Tensor]) -> None:
    """At the start both passes are equal, and the norm of no difference has no gradient of its own."""
    model = make_model()
    module = BreakerModule(attach_lora(model, find_stack(model), 2, LoraSettings(rank=4)), SCALED)
    found = module(**batch, weights=torch.ones(2))
    found["loss"].backward()
    assert found["retain"].item() == 0
    assert all(one.grad.isfinite().all() for one in module.parameters() if one.grad is not None)


@pytest.mark.parametrize("objective", ["rerouting", "random_vector", "probe"])
def test_a_step_lowers_the_loss(make_module: Make, batch: dict[str, torch.Tensor], objective: str) -> None:
    module = make_module(SCALED, objective)
    module.directions.copy_(torch.nn.functional.normalize(torch.ones(2, 32), dim=-1))
    optimizer = torch.optim.AdamW([one for one in module.parameters() if one.requires_grad], lr=1e-3)
    losses = []
    for _ in range(4):
        loss = module(**batch, weights=torch.tensor([1.0, 0.1]))["loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_other_objectives_look_at_no_base_state_of_breaker_rows(make_module: Make) -> None:
    needed = make_module(SCALED, "probe")._needed()
    assert needed == {1: (True, False), 2: (True, False)}


def test_a_batch_split_in_two_gives_the_same_gradient(make_module: Make, batch: dict[str, torch.Tensor]) -> None:
    module, weights = make_module(), torch.tensor([0.3, 0.7])
    module(**batch, weights=weights)["loss"].backward()
    whole = {name: one.grad.clone() for name, one in module.named_parameters() if one.grad is not None}
    module.zero_grad()
    for rows in ([0, 2], [1, 3]):
        part = {name: tensor[rows] for name, tensor in batch.items()}
        module(**part, weights=weights)["loss"].backward()
    for name, one in module.named_parameters():
        if one.grad is not None:
            torch.testing.assert_close(one.grad, whole[name], rtol=1e-4, atol=1e-6)


def test_recomputed_activations_give_the_same_gradient(make_module: Make, batch: dict[str, torch.Tensor]) -> None:
    from demur.harden._memory import recompute_activations

    found, ran = [], []
    for is_recomputed in (False, True):
        module = make_module().train()
        if is_recomputed:
            recompute_activations(module)
            module.train()
        for block in module.stack.blocks:
            block.self_attn.register_forward_pre_hook(
                lambda *_, is_recomputed=is_recomputed: ran.append(is_recomputed)
            )
        module(**batch, weights=torch.ones(2))["loss"].backward()
        found.append({name: one.grad for name, one in module.named_parameters() if one.grad is not None})
    # Two blocks, without and with adapters; and once more.
    assert (ran.count(False), ran.count(True)) == (4, 6)
    assert found[0].keys() == found[1].keys()
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad)


def test_in_training_only_the_adapters_drop_out(make_module: Make, batch: dict[str, torch.Tensor]) -> None:
    module = make_module(dropout=0.5).train()
    modes = {name: part.training for name, part in module.model.named_modules() if not list(part.children())}
    assert {name for name, on in modes.items() if on} == {name for name in modes if "lora_dropout" in name}
    first, second = (module(**batch, weights=torch.ones(2))["loss"].item() for _ in range(2))
    assert first != second
    module.eval()
    first, second = (module(**batch, weights=torch.ones(2))["loss"].item() for _ in range(2))
    assert first == second


def test_states_are_planned_by_the_retain_loss(make_config: Make) -> None:
    assert plan_states(make_config(), (1, 2)) == SCALED
    assert plan_states(make_config(retain_loss="faithful"), (1, 2)) == FAITHFUL
    assert (SCALED.layers, FAITHFUL.layers) == (2, 4)


def test_whoever_traces_states_does_so_inside_a_forward_pass(
    make_module: Make, batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a step, which is a forward pass, does not begin a second one."""
    module, calls = make_module(), []
    monkeypatch.setattr(module, "inside", lambda work: calls.append(1) or work())
    module(**batch, weights=torch.ones(2))
    assert calls == []
    module.trace(batch, Picks.of(batch["tokens"], batch["is_breaker"]), {1: (True, False)})
    assert calls == [1]


def test_measured_buffers_are_no_part_of_the_state_dict(make_module: Make) -> None:
    """Accelerate spreads a state dict between processes and knows weights alone."""
    assert {name for name in make_module().state_dict() if "." not in name} == set()
