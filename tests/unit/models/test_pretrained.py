"""What is in a model's folder is read whole or not at all, and runs nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demur.errors import ConfigError
from demur.models import _pretrained as module
from demur.models._pretrained import load_module

Make = Callable[[str], Path]
ARCHITECTURES = ("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "xlm-roberta", "albert")


def rewrite(source: Path, target: Path, change: Callable[[str, Any], Iterable[tuple[str, Any]]]) -> Path:
    """A copy of a checkpoint, each weight replaced by those that ``change`` gives for it."""
    shutil.copytree(source, target)
    weights = load_file(source / "model.safetensors")
    changed = dict(pair for name, value in weights.items() for pair in change(name, value))
    save_file(changed, target / "model.safetensors", metadata={"format": "pt"})
    return target


def weights_of(found: Any) -> dict[str, Any]:
    return {name: value.numpy() for name, value in found.state_dict().items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("auto", ["AutoModel", "AutoModelForSequenceClassification"])
def test_weights_of_another_prefix_are_refused(
    make_checkpoint: Make, tmp_path: Path, architecture: str, auto: str
) -> None:
    import transformers

    folder = rewrite(make_checkpoint(architecture), tmp_path / "odd", lambda name, value: [(f"net.{name}", value)])
    with pytest.raises(
        ConfigError, match=r"lacks \d+ of the \d+ weights of a .*it has others, such as net\..*give a"
    ):
        load_module(getattr(transformers, auto), folder)


def test_a_single_weight_that_is_missing_is_named(make_checkpoint: Make, tmp_path: Path) -> None:
    from transformers import AutoModel

    lost = "encoder.layer.1.output.dense.bias"
    folder = rewrite(
        make_checkpoint("bert"), tmp_path / "odd", lambda name, value: [(name, value)] if name != lost else []
    )
    with pytest.raises(ConfigError, match=rf"lacks 1 of the \d+ weights of a BertModel \({lost}\); give a folder"):
        load_module(AutoModel, folder)


@pytest.mark.parametrize("saved", [False, True])
def test_a_weight_of_another_size_is_named(make_checkpoint: Make, tmp_path: Path, saved: bool) -> None:
    from transformers import AutoModel

    folder = rewrite(
        make_checkpoint("bert"),
        tmp_path / "odd",
        lambda name, value: [
            (name, np.ones(7, np.float32) if name.endswith("embeddings.LayerNorm.bias") else value)
        ],
    )
    with pytest.raises(
        ConfigError, match=r"embeddings\.LayerNorm\.bias: \(7,\), where its config.json wants \(16,\)"
    ):
        load_module(AutoModel, folder, saved=saved)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "albert", "xlm-roberta"])
def test_an_encoder_may_come_without_a_pooler_but_not_back_without_it(
    make_checkpoint: Make, tmp_path: Path, architecture: str
) -> None:
    from transformers import AutoModel

    source = make_checkpoint(architecture)
    folder = rewrite(
        source, tmp_path / "bare", lambda name, value: [(name, value)] if "pooler" not in name else []
    )
    found, whole = weights_of(load_module(AutoModel, folder)), weights_of(load_module(AutoModel, source))
    assert any("pooler" in name for name in whole)
    for name in whole:
        if "pooler" not in name:
            np.testing.assert_array_equal(found[name], whole[name])
    with pytest.raises(ConfigError, match=r"lacks 2 of .*pooler.*; restore it or train again"):
        load_module(AutoModel, folder, saved=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_head_may_be_missing_at_first_and_never_after_saving(
    make_checkpoint: Make, tmp_path: Path, architecture: str
) -> None:
    from transformers import AutoModelForSequenceClassification as Auto

    with pytest.raises(ConfigError, match=r"classifier.*; restore it or train again"):
        load_module(Auto, make_checkpoint(architecture), saved=True)
    made = load_module(Auto, make_checkpoint(architecture), num_labels=3)
    made.save_pretrained(tmp_path / "saved")
    again = weights_of(load_module(Auto, tmp_path / "saved", saved=True))
    for name, value in weights_of(made).items():
        np.testing.assert_array_equal(again[name], value)


def test_a_head_of_another_task_is_replaced_by_a_new_one(make_checkpoint: Make, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification as Auto

    load_module(Auto, make_checkpoint("roberta"), num_labels=5).save_pretrained(tmp_path / "five")
    assert load_module(Auto, tmp_path / "five", num_labels=3).classifier.out_proj.out_features == 3
    with pytest.raises(
        ConfigError, match=r"classifier\.out_proj\.bias: \(5,\), where its config\.json wants \(3,\)"
    ):
        load_module(Auto, tmp_path / "five", saved=True, num_labels=3)


def test_the_encoder_of_a_language_model_is_read_without_its_head(make_checkpoint: Make, tmp_path: Path) -> None:
    """Masked-language checkpoints carry a prefix and a tied head, as the published ones do."""
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    for architecture in ARCHITECTURES:
        made = AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(make_checkpoint(architecture)))
        made.save_pretrained(tmp_path / architecture)
        found = weights_of(load_module(AutoModel, tmp_path / architecture))
        for name, value in weights_of(made.base_model).items():
            np.testing.assert_array_equal(found[name], value)


def edit_config(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
@pytest.mark.parametrize(("architecture", "expected"), [("bert", "sdpa"), ("deberta-v2", "eager")])
def test_a_kernel_that_a_configuration_names_is_not_asked_for(
    make_checkpoint: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    architecture: str,
    expected: str,
) -> None:
    from transformers import AutoModel, modeling_utils

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a kernel was asked for")

    monkeypatch.setattr(modeling_utils, "lazy_import_flash_attention", fail)
    folder = shutil.copytree(make_checkpoint(architecture), tmp_path / "odd")
    found = load_module(AutoModel, edit_config(folder, **{key: "kernels-community/flash-attn2"}), saved=True)
    assert found.config._attn_implementation == expected


def test_the_hub_is_out_of_reach_while_a_folder_is_read_and_no_longer(
    make_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    seen = []
    for auto in (AutoConfig, AutoTokenizer):
        plain = auto.from_pretrained

        def watch(*given: Any, plain: Any = plain, **settings: Any) -> Any:
            seen.append(constants.is_offline_mode())
            return plain(*given, **settings)

        monkeypatch.setattr(auto, "from_pretrained", watch)
    load_module(AutoModel, make_checkpoint("bert"))
    module.load_tokenizer(make_checkpoint("bert"))
    assert len(seen) >= 2
    assert all(seen)
    assert not constants.is_offline_mode()


def test_an_adapter_beside_the_weights_is_refused(make_checkpoint: Make, tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = shutil.copytree(make_checkpoint("bert"), tmp_path / "odd")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')
    with pytest.raises(ConfigError, match=r"holds an adapter \(adapter_config\.json\); merge it into the model"):
        load_module(AutoModel, folder)


def test_a_saved_model_asks_for_no_quantisation(make_checkpoint: Make, tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = shutil.copytree(make_checkpoint("bert"), tmp_path / "odd")
    edit_config(folder, quantization_config={"quant_method": "fp8"})
    with pytest.raises(ConfigError, match="asks for quantisation, which demur never saves"):
        load_module(AutoModel, folder, saved=True)


@pytest.mark.parametrize("load", ["weights", "tokenizer"])
def test_code_that_a_folder_brings_is_not_run_whoever_answers(
    make_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: str
) -> None:
    from transformers import AutoModel

    folder = tmp_path / "foreign"
    shutil.copytree(make_checkpoint("bert"), folder)
    (folder / "own.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from transformers import BertConfig as Config, BertModel as Model, BertTokenizer as Tokenizer\n"
    )
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "nobody-knows"}
    config["auto_map"] = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    naming = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Tokenizer", "own.Tokenizer"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(naming))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    loaders = {
        "weights": lambda: module.load_module(AutoModel, folder),
        "tokenizer": lambda: module.load_tokenizer(folder),
    }
    with pytest.raises(ConfigError, match=r"cannot be (loaded|read)"):
        loaders[load]()
    assert not (tmp_path / "ran").exists()
