"""Memory is reckoned before the first step, and decides whether activations are computed twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from demur.errors import NoMemoryError
from demur.harden import _memory as memory
from demur.harden._blocks import attach_lora, find_stack
from demur.harden._module import BreakerModule, StatePlan
from demur.training import estimate_memory

PLAN = StatePlan(targets=(2,), retained=(1, 2), blocks=2, faithful=False)


@pytest.fixture
def module(make_model: Callable[..., Any], make_config: Callable[..., Any]) -> BreakerModule:
    model = make_model()
    return BreakerModule(attach_lora(model, find_stack(model), 2, make_config().lora), PLAN)


def test_only_adapters_have_gradients_and_states_of_the_optimiser(
    module: BreakerModule, make_config: Callable[..., Any]
) -> None:
    found = memory.plan_memory(module, make_config(), 64, 4).estimate
    trained = sum(one.numel() for one in module.parameters() if one.requires_grad)
    assert found.gradients == trained * 4
    assert found.optimizer == trained * 12
    assert found.activations > 0


def test_longer_rows_and_larger_passes_need_more(module: BreakerModule, make_config: Callable[..., Any]) -> None:
    def need(longest: int, rows: int) -> float:
        return memory.plan_memory(module, make_config(), longest, rows).estimate.activations

    assert need(64, 2) < need(128, 2) < need(128, 8)


def test_measuring_leaves_no_gradient(module: BreakerModule, make_config: Callable[..., Any]) -> None:
    memory.plan_memory(module, make_config(), 64, 4)
    assert all(one.grad is None for one in module.parameters())
    assert not find_stack(module.model.get_base_model()).blocks[0]._forward_hooks


@pytest.mark.parametrize(("wanted", "is_recomputed"), [("auto", False), ("off", False), ("on", True)])
def test_activations_are_kept_where_memory_suffices(
    module: BreakerModule, make_config: Callable[..., Any], wanted: str, is_recomputed: bool
) -> None:
    found = memory.plan_memory(module, make_config(gradient_checkpointing=wanted), 64, 4)
    assert found.is_recomputed is is_recomputed
    assert found.to_json()["gradient_checkpointing"] is is_recomputed


def test_activations_are_computed_twice_where_memory_does_not(
    module: BreakerModule, make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        memory, "estimate_memory", lambda *a, **b: replace(estimate_memory(*a, **b), available=1.0)
    )
    found = memory.plan_memory(module, make_config(), 64, 4)
    assert found.is_recomputed
    with pytest.raises(NoMemoryError, match=r"a step needs about .* GiB free; raise accumulate"):
        memory.refuse_too_large(found)


def test_what_fits_is_not_refused(module: BreakerModule, make_config: Callable[..., Any]) -> None:
    memory.refuse_too_large(memory.plan_memory(module, make_config(), 64, 4))


def test_recomputed_activations_are_reckoned_of_the_blocks_that_run(
    module: BreakerModule, make_config: Callable[..., Any]
) -> None:
    """Two of the three blocks run, and a pair is two rows: blocks' inputs are kept, one block is whole."""
    whole = memory.plan_memory(module, make_config(gradient_checkpointing="off"), 64, 4).estimate.activations
    found = memory.plan_memory(module, make_config(gradient_checkpointing="on"), 64, 4).estimate.activations
    inputs = 4.0 * 4 * 64 * (2 * 32) * 2
    ratio = estimate_memory.__globals__["_BACKWARD_SHARE"] + 1
    assert found == pytest.approx(whole / 2 + inputs * ratio)


def test_of_split_weights_a_process_holds_its_part_and_two_blocks_whole(
    module: BreakerModule, make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = memory.plan_memory(module, make_config(), 64, 4).estimate
    monkeypatch.setattr(memory, "count_parts", lambda _: 4)
    found = memory.plan_memory(module, make_config(), 64, 4).estimate
    for name in ("weights", "gradients", "optimizer"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name) / 4, rel=1e-4)
    blocks = [sum(one.numel() for one in block.parameters()) for block in module.stack.blocks]
    total = sum(one.numel() for one in module.parameters())
    gathered = 4 * (total - sum(blocks) + 2 * max(blocks))
    assert found.activations - whole.activations == pytest.approx(gathered)


def test_a_split_module_is_measured_as_a_whole_one(
    breaker: Any, make_split: Callable[..., Any], make_config: Callable[..., Any]
) -> None:
    """In one process; what weights take while they are whole is not counted as kept."""
    whole = memory.plan_memory(breaker, make_config(), 64, 4).estimate
    found = memory.plan_memory(make_split(breaker), make_config(), 64, 4).estimate
    assert found.activations == pytest.approx(whole.activations, rel=0.01)
    assert (found.weights, found.gradients, found.optimizer) == (whole.weights, whole.gradients, whole.optimizer)
