"""Freezing, building and the mean head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.errors import ConfigError
from demur.models.transformer import TransformerConfig
from demur.tasks import JAILBREAK, REFUSAL

Make = Callable[[str], Path]


def build(folder: Path, **changes: Any) -> Any:
    from demur.models.transformer._module import build_module

    return build_module(folder, TransformerConfig(**changes), REFUSAL)


@pytest.mark.parametrize("head", ["mean", "transformers"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "modernbert", "deberta-v2"])
def test_freezing_leaves_later_blocks_and_head_to_train(
    make_checkpoint: Make, architecture: str, head: str
) -> None:
    module = build(make_checkpoint(architecture), freeze_layers=1, head=head)
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert not any("embeddings.word" in name or "tok_embeddings" in name or "layer.0." in name for name in trained)
    assert any(".1." in name for name in trained)
    assert any(name.startswith(("classifier", "head", "pre_classifier")) for name in trained)


@pytest.mark.parametrize(
    "architecture",
    ["bert", "roberta", "distilbert", "albert", "modernbert", "deberta-v2", "mpnet", "xlm-roberta"],
)
def test_without_dropout_training_is_as_judging(make_checkpoint: Make, architecture: str) -> None:
    import torch

    module = build(make_checkpoint(architecture), encoder_dropout=0.0, dropout=0.0)
    inputs = {"input_ids": torch.arange(5, 17)[None], "attention_mask": torch.ones(1, 12, dtype=torch.long)}
    trained, judged = module.train()(**inputs)["logits"], module.eval()(**inputs)["logits"]
    assert torch.allclose(trained, judged, atol=1e-6)


def test_a_language_model_can_do_without_dropout_too(tiny_causal: Path) -> None:
    module = build(tiny_causal, encoder_dropout=0.25, head="last")
    assert {layer.self_attn.attention_dropout for layer in module.encoder.layers} == {0.25}


def test_dropout_stays_as_the_model_has_it(make_checkpoint: Make) -> None:
    assert build(make_checkpoint("bert")).encoder.embeddings.dropout.p == 0.1


def test_nothing_is_frozen_by_default(make_checkpoint: Make) -> None:
    assert all(parameter.requires_grad for parameter in build(make_checkpoint("bert")).parameters())


def test_freezing_every_block_trains_the_head_alone(make_checkpoint: Make) -> None:
    module = build(make_checkpoint("distilbert"), freeze_layers=2)
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trained == ["classifier.weight", "classifier.bias"]


def test_freezing_more_blocks_than_there_are_is_refused(make_checkpoint: Make) -> None:
    with pytest.raises(ConfigError, match="freeze_layers is 3, but the bert model has 2 blocks; give 0 to 2"):
        build(make_checkpoint("bert"), freeze_layers=3)


def test_freezing_a_model_that_shares_its_block_is_refused(make_checkpoint: Make) -> None:
    with pytest.raises(ConfigError, match="albert model keeps no list of blocks"):
        build(make_checkpoint("albert"), freeze_layers=1)


def test_a_folder_without_safetensors_is_refused(make_checkpoint: Make, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((make_checkpoint("bert") / "config.json").read_text())
    with pytest.raises(ConfigError, match=r"cannot be loaded .*; give an encoder with a model\.safetensors"):
        build(tmp_path)


def test_mean_head_is_a_linear_layer_over_the_masked_mean(make_checkpoint: Make) -> None:
    import torch

    module = build(make_checkpoint("bert")).eval()
    ids, mask = torch.tensor([[2, 5, 6, 3, 0]]), torch.tensor([[1, 1, 1, 1, 0]])
    with torch.no_grad():
        hidden = module.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()[0, :4]
        logits = module(ids, mask)["logits"].numpy()[0]
    weight, bias = (part.detach().numpy() for part in (module.classifier.weight, module.classifier.bias))
    np.testing.assert_allclose(logits, hidden.mean(axis=0) @ weight.T + bias, atol=1e-5)


def test_a_head_of_another_size_in_the_checkpoint_is_replaced(make_checkpoint: Make, tmp_path: Path) -> None:
    from demur.models.transformer._module import build_module, save_module

    config = TransformerConfig(head="transformers")
    save_module(build_module(make_checkpoint("bert"), config, REFUSAL), tmp_path, REFUSAL)
    smaller: Any = build_module(tmp_path, config, JAILBREAK)
    assert smaller.classifier.out_features == 2


@pytest.mark.parametrize("pooling", ["mean", "cls", "cls_mean", "last"])
def test_pooling_never_sees_padding(pooling: str) -> None:
    import torch

    from demur.models.transformer._module import pool

    hidden = torch.arange(24.0).reshape(2, 4, 3)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    expected = {
        "mean": [hidden[0, :2].mean(dim=0), hidden[1].mean(dim=0)],
        "cls": [hidden[0, 0], hidden[1, 0]],
        "cls_mean": [
            torch.cat([hidden[0, 0], hidden[0, :2].mean(dim=0)]),
            torch.cat([hidden[1, 0], hidden[1].mean(dim=0)]),
        ],
        "last": [hidden[0, 1], hidden[1, 3]],
    }[pooling]
    assert torch.equal(pool(hidden, mask, pooling), torch.stack(expected))


@pytest.mark.parametrize("head", ["mean", "transformers"])
def test_tuning_the_head_trains_nothing_else(make_checkpoint: Make, head: str) -> None:
    module = build(make_checkpoint("roberta"), tuning="head", head=head)
    trained = {name.split(".")[0] for name, value in module.named_parameters() if value.requires_grad}
    assert trained == {"classifier"}


def test_a_language_model_keeps_no_keys_and_values(tiny_causal: Path) -> None:
    assert build(tiny_causal, head="last").config.use_cache is False
