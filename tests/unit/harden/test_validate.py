"""Held-out figures against plain NumPy, and the rule that ends a training."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from demur.harden import KlSummary, LoraSettings, StopRule, Validation
from demur.harden._blocks import attach_lora, find_stack
from demur.harden._module import BreakerModule, StatePlan
from demur.harden._pairs import PairCollator, TokenPair, TokenRow
from demur.harden._validate import is_enough, validate

PLAN = StatePlan(targets=(2,), retained=(1, 2), blocks=2, faithful=False)


@pytest.fixture
def module(make_model: Callable[..., Any]) -> BreakerModule:
    model = make_model()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wrapped = attach_lora(model, find_stack(model), 2, LoraSettings(rank=2, dropout=0.5))
        for name, one in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(one, std=0.2)
    return BreakerModule(wrapped, PLAN)


@pytest.fixture
def batches() -> list[dict[str, torch.Tensor]]:
    random = np.random.default_rng(0)

    def row(length: int) -> TokenRow:
        return TokenRow(random.integers(3, 250, length).astype(np.int32), np.arange(length) > 1)

    pairs = [TokenPair(row(5 + n), row(9 - n)) for n in range(5)]
    return [PairCollator(0)(pairs[:3]), PairCollator(0)(pairs[3:])]


def test_the_figures_are_those_of_plain_numpy(module: BreakerModule, batches: list[dict[str, Any]]) -> None:
    found = validate(module, batches, 7)
    sums = {name: [] for name in ("cosine", "louder", "before", "distance1", "norm1")}
    for batch in batches:
        given = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            adapted = [
                one.numpy() for one in module.eval().model(**given, output_hidden_states=True).hidden_states
            ]
            with module.model.disable_adapter():
                base = [one.numpy() for one in module.model(**given, output_hidden_states=True).hidden_states]
        broken = (batch["tokens"] & batch["is_breaker"][:, None]).numpy()
        kept = (batch["tokens"] & ~batch["is_breaker"][:, None]).numpy()
        a, b = adapted[2][broken], base[2][broken]
        sums["cosine"] += ((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).tolist()
        sums["louder"] += np.linalg.norm(a, axis=-1).tolist()
        sums["before"] += np.linalg.norm(b, axis=-1).tolist()
        sums["distance1"] += np.linalg.norm(adapted[1][kept] - base[1][kept], axis=-1).tolist()
        sums["norm1"] += np.linalg.norm(base[1][kept], axis=-1).tolist()
    assert found.step == 7
    assert found.cosine == {2: pytest.approx(np.mean(sums["cosine"]), rel=1e-4)}
    assert found.norm_ratio == {2: pytest.approx(np.mean(sums["louder"]) / np.mean(sums["before"]), rel=1e-4)}
    assert found.retain[1] == pytest.approx(np.mean(sums["distance1"]) / np.mean(sums["norm1"]), rel=1e-4)
    assert set(found.retain) == {1, 2}


def test_validating_leaves_the_mode_and_the_random_state_alone(
    module: BreakerModule, batches: list[dict[str, Any]]
) -> None:
    module.train()
    before = torch.random.get_rng_state()
    first, second = validate(module, batches, 0), validate(module, batches, 0)
    assert first == second
    assert module.training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_untouched_adapter_changes_nothing(
    make_model: Callable[..., Any], batches: list[dict[str, Any]]
) -> None:
    model = make_model()
    found = validate(BreakerModule(attach_lora(model, find_stack(model), 2, LoraSettings()), PLAN), batches, 0)
    assert found.highest_cosine == pytest.approx(1.0, abs=1e-6)
    assert found.norm_ratio == {2: 1.0}
    assert found.mean_retain == 0.0


def at(cosine: float, retain: float) -> Validation:
    return Validation(0, {1: cosine - 0.5, 2: cosine}, {1: 1.0, 2: 1.0}, {1: retain, 2: retain})


RULE = StopRule(cosine=0.1, retain=0.15, flat=0.05, patience=2)


@pytest.mark.parametrize(
    ("history", "wanted"),
    [
        ([], False),
        ([(0.05, 0.1), (0.05, 0.1)], False),
        ([(0.9, 0.1), (0.05, 0.1), (0.05, 0.102)], True),
        ([(0.05, 0.1), (0.2, 0.1), (0.05, 0.1)], False),
        ([(0.05, 0.1), (0.05, 0.1), (0.05, 0.2)], False),
        ([(0.05, 0.3), (0.05, 0.1), (0.05, 0.1), (0.05, 0.1)], True),
        ([(0.05, 0.0), (0.05, 0.0), (0.05, 0.0)], True),
        # At rest, and far away.
        ([(0.05, 0.5), (0.05, 0.5), (0.05, 0.5)], False),
    ],
)
def test_it_is_enough_when_rerouted_and_at_rest(history: list[tuple[float, float]], wanted: bool) -> None:
    assert is_enough([at(*one) for one in history], RULE) is wanted


def test_the_rule_can_be_switched_off() -> None:
    assert not is_enough([at(0.0, 0.1)] * 9, StopRule(enabled=False))


@pytest.mark.parametrize("kl", [None, KlSummary(0.1, 0.5, 0.2, 40)])
def test_a_validation_survives_json(kl: KlSummary | None) -> None:
    found = Validation(3, {1: 0.5, 2: 0.25}, {1: 1.0, 2: 2.0}, {1: 0.1, 2: 0.3}, kl)
    assert Validation.from_json(json.loads(json.dumps(found.to_json()))) == found
