"""Adapters: what they train, what merging leaves, and that a merged model is an ordinary one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.data import Records
from demur.errors import ConfigError, MissingDependencyError
from demur.models import load
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.models.transformer._config import LoraSettings
from demur.tasks import REFUSAL

Make = Callable[[str], Path]
Maker = Callable[[int], Records]
ARCHITECTURES = ("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "xlm-roberta", "albert")


def wrapped(folder: Path, head: str = "mean", **settings: Any) -> tuple[Any, Any]:
    from demur.models.transformer._lora import add_lora
    from demur.models.transformer._module import build_module, encoder_of

    module = build_module(folder, TransformerConfig(head=head), REFUSAL)
    return module, add_lora(encoder_of(module).base_model, LoraSettings(**settings))


def fit(folder: Path, rows: Records, **changes: Any) -> TransformerClassifier:
    train = {"epochs": 4, "batch_size": 8, "learning_rate": 0.01}
    values = {"model": str(folder), "max_tokens": 48, "prompt_tokens": 16, "tuning": "lora", "train": train}
    return TransformerClassifier(REFUSAL, TransformerConfig(**values | changes), seed=1).fit(rows)


@pytest.mark.parametrize("head", ["mean", "transformers"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_changes_and_head_are_trained(make_checkpoint: Make, architecture: str, head: str) -> None:
    module, _ = wrapped(make_checkpoint(architecture), head)
    trained = {name for name, value in module.named_parameters() if value.requires_grad}
    heads = {name for name in trained if "lora_" not in name}
    assert trained - heads
    assert {name.split(".")[0] for name in heads} <= {"classifier", "pre_classifier", "head", "pooler"}


def test_a_fresh_adapter_changes_no_answer(make_checkpoint: Make) -> None:
    import torch

    from demur.models.transformer._module import build_module

    ids = torch.tensor([[2, 5, 6, 3]])
    torch.manual_seed(0)
    plain = build_module(make_checkpoint("bert"), TransformerConfig(), REFUSAL).eval()
    torch.manual_seed(0)
    module, _ = wrapped(make_checkpoint("bert"))
    with torch.no_grad():
        expected, found = (one.eval()(ids, torch.ones_like(ids))["logits"] for one in (plain, module))
    assert torch.equal(expected, found)


def test_merging_is_weight_plus_scaled_product(make_checkpoint: Make) -> None:
    import torch

    from demur.models.transformer._lora import merge_lora

    module, tuner = wrapped(make_checkpoint("bert"), rank=4, alpha=6)
    layer = module.encoder.encoder.layer[0].output.dense
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
    up, down = (layer.lora_B["default"].weight.numpy(force=True), layer.lora_A["default"].weight.numpy(force=True))
    expected = layer.base_layer.weight.numpy(force=True) + 6 / 4 * up @ down
    merge_lora(tuner)
    merged = module.encoder.encoder.layer[0].output.dense
    assert type(merged) is torch.nn.Linear
    np.testing.assert_allclose(merged.weight.numpy(force=True), expected, atol=1e-6)
    assert not any("lora" in name for name, _ in module.named_parameters())


def test_layers_can_be_named(make_checkpoint: Make) -> None:
    module, _ = wrapped(make_checkpoint("roberta"), targets=("query", "value"))
    changed = {
        name.split(".lora_")[0].rsplit(".", 1)[-1] for name, _ in module.named_parameters() if "lora_" in name
    }
    assert changed == {"query", "value"}


def test_a_layer_that_is_not_there_names_those_that_are(make_checkpoint: Make) -> None:
    with pytest.raises(ConfigError, match=r"\['q_proj'\] names no layer of the bert model .*query, value"):
        wrapped(make_checkpoint("bert"), targets=("q_proj",))


def test_a_missing_peft_is_named_with_its_extra(make_checkpoint: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'demur\[llm\]'"):
        wrapped(make_checkpoint("bert"))


def test_an_encoder_is_saved_merged_and_stands_alone(
    make_checkpoint: Make, refusals: Maker, tmp_path: Path
) -> None:
    from transformers import AutoModel

    rows = refusals(24)
    classifier = fit(make_checkpoint("roberta"), rows)
    assert classifier.training is not None
    assert classifier.training.history[-1]["loss"] < classifier.training.history[0]["loss"]
    classifier.save(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "head.safetensors"} <= names
    assert not any("adapter" in name or name == "base.json" for name in names)
    assert AutoModel.from_pretrained(tmp_path / "model").config.model_type == "roberta"
    np.testing.assert_array_equal(load(tmp_path / "model").predict_proba(rows), classifier.predict_proba(rows))


def test_the_base_is_as_it_was_but_for_the_changed_layers(make_checkpoint: Make, refusals: Maker) -> None:
    import torch
    from transformers import AutoModel

    folder = make_checkpoint("bert")
    classifier: Any = fit(folder, refusals(24), lora={"targets": ["query"]})
    before, after = (
        dict(one.named_parameters()) for one in (AutoModel.from_pretrained(folder), classifier.module.encoder)
    )
    moved = {name.rsplit(".", 2)[-2] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"query"}


def test_adapters_are_searched_at_higher_rates() -> None:
    spaces = {
        tuning: TransformerClassifier.default_space(TransformerConfig(tuning=tuning))
        for tuning in ("full", "lora", "head")
    }
    assert spaces["full"] == TransformerClassifier.search_space
    assert spaces["lora"]["train.learning_rate"]["high"] > spaces["full"]["train.learning_rate"]["high"]
    assert "lora.rank" in spaces["lora"]
    assert "lora.rank" not in spaces["head"]
