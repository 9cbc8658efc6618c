"""Learning rates fall from the head down to the embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demur.models.transformer import TransformerConfig
from demur.tasks import REFUSAL

Make = Callable[[str], Path]
ARCHITECTURES = ("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "xlm-roberta")


def rates_of(folder: Path, head: str = "mean") -> tuple[dict[str, float], Any]:
    from demur.models.transformer._module import build_module, encoder_of
    from demur.models.transformer._rates import layer_rates

    module = build_module(folder, TransformerConfig(head=head), REFUSAL)
    return layer_rates(module, encoder_of(module), 0.5), module


@pytest.mark.parametrize("head", ["mean", "transformers"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_block_has_half_the_rate_of_the_one_above(
    make_checkpoint: Make, architecture: str, head: str
) -> None:
    rates, module = rates_of(make_checkpoint(architecture), head)
    assert set(rates) == {name for name, _ in module.named_parameters()}
    assert {value for name, value in rates.items() if ".1." in name} == {0.5}
    assert {value for name, value in rates.items() if ".0." in name and "layer" in name} == {0.25}
    assert {value for name, value in rates.items() if "embeddings." in name} == {0.125}
    assert {value for name, value in rates.items() if name.startswith(("classifier", "head"))} == {1.0}


@pytest.mark.parametrize("head", ["mean", "transformers"])
def test_the_head_alone_has_a_rate_of_its_own(make_checkpoint: Make, head: str) -> None:
    from demur.models.transformer._module import encoder_of
    from demur.models.transformer._rates import layer_rates

    plain, module = rates_of(make_checkpoint("roberta"), head)
    found = layer_rates(module, encoder_of(module), 0.5, 10)
    raised = {name for name in plain if found[name] != plain[name]}
    assert raised == {name for name in plain if name.startswith("classifier")}
    assert {found[name] for name in raised} == {10}


def test_a_faster_head_learns_the_same_rows_sooner(make_checkpoint: Make, refusals: Callable[[int], Any]) -> None:
    from demur.models.transformer import TransformerClassifier

    def lowest(head_rate: float) -> float:
        config = TransformerConfig(
            model=str(make_checkpoint("bert")),
            max_tokens=32,
            prompt_tokens=8,
            tuning="head",
            head_rate=head_rate,
            train={"epochs": 2, "batch_size": 8, "learning_rate": 1e-3},
        )
        fitted = TransformerClassifier(REFUSAL, config).fit(refusals(48))
        assert fitted.training is not None
        return float(fitted.training.history[-1]["loss"])

    assert lowest(20) < lowest(1)


def test_a_shared_block_counts_as_one(make_checkpoint: Make) -> None:
    rates, _ = rates_of(make_checkpoint("albert"))
    assert {value for name, value in rates.items() if "albert_layers" in name} == {0.5}
    assert {value for name, value in rates.items() if "embeddings." in name} == {0.25}


def test_a_language_model_has_blocks_too(tiny_causal: Path) -> None:
    rates, _ = rates_of(tiny_causal)
    assert rates["encoder.layers.1.mlp.up_proj.weight"] == 0.5
    assert rates["encoder.layers.0.mlp.up_proj.weight"] == 0.25
    assert rates["encoder.embed_tokens.weight"] == 0.125


def test_a_decay_moves_low_blocks_less(make_checkpoint: Make, refusals: Callable[[int], Any]) -> None:
    import torch
    from transformers import AutoModel

    from demur.models.transformer import TransformerClassifier

    folder = make_checkpoint("bert")
    before = AutoModel.from_pretrained(folder)
    config = TransformerConfig(
        model=str(folder), max_tokens=32, prompt_tokens=12, layer_decay=0.01, train={"epochs": 1, "batch_size": 8}
    )
    after: Any = TransformerClassifier(REFUSAL, config).fit(refusals(24)).module

    def moved(number: int) -> float:
        name = f"layer.{number}.output.dense.weight"
        pair = [dict(one.encoder.named_parameters())[name] for one in (before, after.encoder)]
        return float(torch.dist(*pair).detach())

    assert 0 < moved(0) < 0.1 * moved(1)
