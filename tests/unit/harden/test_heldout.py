"""Held-out rows are measured evenly by source, and figures are given by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from demur.harden import LoraSettings
from demur.harden._blocks import attach_lora, find_stack, nudge_adapters
from demur.harden._data import HardenRows, load_rows
from demur.harden._heldout import HeldOut
from demur.harden._module import BreakerModule, StatePlan
from demur.harden._pairs import RowTokens
from demur.llm import Target

PLAN = StatePlan(targets=(2,), retained=(1, 2), blocks=2, faithful=False)


@pytest.fixture
def target(make_target: Callable[..., Any]) -> Target:
    found: Target = make_target()
    return found


@pytest.fixture
def module(target: Target) -> BreakerModule:
    """With adapters that do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = attach_lora(target.module, find_stack(target.module), 2, LoraSettings(rank=2))
        nudge_adapters(model, 0.2)
    return BreakerModule(model, PLAN)


@pytest.fixture
def measured(target: Target, module: BreakerModule, make_config: Callable[..., Any]) -> Callable[..., Any]:
    """Maker of what measures: ``measured(valid_rows=4)`` changes a setting; with the rows."""

    def make(pass_rows: int = 16, **changes: Any) -> tuple[HeldOut, HardenRows]:
        config = make_config(data={"held_out": 0.5}, **changes)
        rows = load_rows(config.data, 0)
        return HeldOut(module, target, rows, RowTokens(target, config), config, pass_rows), rows

    return make


def test_few_rows_come_from_every_source(measured: Callable[..., Any]) -> None:
    held_out, rows = measured(valid_rows=4)
    assert Counter(row.kind for row in rows.retain_valid[:4]) == {"chat": 2, "refusal": 2}
    assert set(held_out.measure(1).retain_kinds) == {"chat", "refusal"}
    assert sum(len(batch["tokens"]) for batch in held_out.batches) == 8


def test_no_row_is_measured_twice(measured: Callable[..., Any]) -> None:
    held_out, rows = measured(valid_rows=64)
    assert len(rows.breakers_valid) == 4
    assert len(rows.retain_valid) == 8
    assert sum(int((~batch["is_breaker"]).sum()) for batch in held_out.batches) == 8
    assert sum(int(batch["is_breaker"].sum()) for batch in held_out.batches) == 4


def test_no_pass_holds_more_rows_than_one_of_the_training(measured: Callable[..., Any]) -> None:
    held_out, _ = measured(pass_rows=3)
    assert max(len(batch["tokens"]) for batch in held_out.batches) == 3
    whole, _ = measured(pass_rows=16)
    one, other = held_out.measure(1), whole.measure(1)
    assert one.retain_kinds == pytest.approx(other.retain_kinds, rel=1e-5)
    assert one.turned == pytest.approx(other.turned, rel=1e-4)


def test_figures_of_a_kind_are_those_of_its_rows_alone(
    measured: Callable[..., Any], module: BreakerModule, target: Target
) -> None:
    held_out, rows = measured()
    sums = np.zeros((2, 2))
    for row in (row for row in rows.retain_valid if row.kind == "refusal"):
        encoded = target.encode(row.conversation)
        ids = torch.from_numpy(encoded.ids).long()[None]
        with torch.no_grad():
            adapted = module.eval().model(input_ids=ids, output_hidden_states=True).hidden_states
            with module.model.disable_adapter():
                base = module.model(input_ids=ids, output_hidden_states=True).hidden_states
        for place, state in enumerate((1, 2)):
            a, b = (one[state][0].numpy()[encoded.assistant] for one in (adapted, base))
            sums[place] += np.linalg.norm(a - b, axis=-1).sum(), np.linalg.norm(b, axis=-1).sum()
    found = held_out.measure(1).retain_kinds["refusal"]
    assert found == pytest.approx((sums[:, 0] / sums[:, 1]).mean(), rel=1e-4)


def test_kl_is_measured_when_it_is_its_turn_and_by_kind(measured: Callable[..., Any]) -> None:
    held_out, rows = measured(kl_every=2)
    assert held_out.measure(1).kl is None
    kl = held_out.measure(2).kl
    tokens = Counter[str]()
    for row in rows.retain_valid:
        tokens[row.kind] += len(row.conversation.messages[-1].content) + 1
    assert kl.tokens == sum(tokens.values())
    assert kl.mean == pytest.approx(sum(kl.kinds[kind] * count for kind, count in tokens.items()) / kl.tokens)


def test_kl_is_measured_inside_a_forward_pass(
    measured: Callable[..., Any], module: BreakerModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(module, "inside", lambda work: calls.append(1) or work())
    measured()[0].measure_kl()
    assert calls == [1]
