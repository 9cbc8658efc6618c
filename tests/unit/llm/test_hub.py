"""The hub is asked once, refused in a moment where it is out of reach, and its files are made plain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demur.errors import ConfigError, MissingDependencyError, MissingModelError
from demur.llm import _hub as module
from demur.llm import fetch_model, find_fetched

pytestmark = pytest.mark.usefixtures("no_memory")
Answer = Callable[..., str]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], list[dict[str, Any]]]:
    """Puts a function in the place of the download; gives the list of calls that went out."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def use(answer: Answer) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def download(name: str, **options: Any) -> str:
            if options.get("local_files_only"):
                raise FileNotFoundError("not in the cache")
            calls.append({"name": name} | options)
            return answer(name, **options)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        return calls

    return use


def unreachable(name: str, **_: Any) -> str:
    raise ConnectionError("Name or service not known")


def save_bert(folder: Path, pickled: bool) -> None:
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    model = BertModel(config)
    model.save_pretrained(folder)
    if pickled:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()


def test_a_hub_out_of_reach_is_an_error_of_its_own(hub: Any) -> None:
    hub(unreachable)
    with pytest.raises(MissingModelError, match=r"not be fetched .*Name or service.*'embedded:minilm'") as found:
        fetch_model("someone/some-model")
    assert found.value.model == "someone/some-model"
    assert found.value.exit_code == 3


def test_a_hub_out_of_reach_is_asked_once(hub: Any) -> None:
    calls = hub(unreachable)
    for name in ("one/model", "another/model", "third/model"):
        with pytest.raises(MissingModelError, match=name):
            fetch_model(name)
    assert [call["name"] for call in calls] == ["one/model"]


def test_a_hub_is_asked_again_after_a_while(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = hub(unreachable)
    monkeypatch.setattr(module, "_REMEMBER_S", 0)
    for _ in range(2):
        with pytest.raises(MissingModelError, match="one/model"):
            fetch_model("one/model")
    assert len(calls) == 2


def test_a_name_the_hub_does_not_know_is_the_users_mistake(hub: Any) -> None:
    from huggingface_hub.errors import HFValidationError

    def unknown(name: str, **_: Any) -> str:
        raise HFValidationError("no such repository")

    hub(unknown)
    with pytest.raises(ConfigError, match=r"the hub gives no model 'one/model'.*check the name, log in") as found:
        fetch_model("one/model")
    assert not isinstance(found.value, MissingModelError)


def test_offline_mode_asks_nobody(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    calls = hub(unreachable)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModelError, match="HF_HUB_OFFLINE forbids to fetch it; unset HF_HUB_OFFLINE"):
        fetch_model("one/model")
    assert calls == []


def test_a_whole_model_is_used_where_it_was_downloaded(hub: Any, tmp_path: Path) -> None:
    save_bert(tmp_path, pickled=False)
    (tmp_path / "tokenizer.json").write_text("{}")
    calls = hub(lambda name, **_: str(tmp_path))
    assert fetch_model("one/model") == str(tmp_path)
    assert not any("bin" in pattern for pattern in calls[0]["allow_patterns"])


def test_what_is_in_the_cache_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    save_bert(tmp_path, pickled=False)
    (tmp_path / "tokenizer.json").write_text("{}")

    def only_local(name: str, local_files_only: bool = False, **_: Any) -> str:
        assert local_files_only
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", only_local)
    assert fetch_model("one/model") == str(tmp_path)


def test_a_half_fetched_model_in_the_cache_is_fetched_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    save_bert(tmp_path, pickled=False)
    (tmp_path / "tokenizer.json").write_text("{}")
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").unlink()

    def download(name: str, local_files_only: bool = False, **_: Any) -> str:
        if not local_files_only:
            (tmp_path / "model.safetensors").write_bytes(weights)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert (Path(fetch_model("one/model")) / "model.safetensors").is_file()


def test_a_pickle_is_fetched_only_where_there_is_nothing_else_and_becomes_safetensors(
    hub: Any, tmp_path: Path, cache: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    save_bert(tmp_path, pickled=True)
    (tmp_path / "tokenizer.json").write_text("{}")
    pickle = (tmp_path / "pytorch_model.bin").rename(tmp_path / "held back")

    def answer(name: str, allow_patterns: list[str], **_: Any) -> str:
        if "pytorch_model*.bin" in allow_patterns:
            pickle.rename(tmp_path / "pytorch_model.bin")
        return str(tmp_path)

    calls = hub(answer)
    folder = Path(fetch_model("one/model"))
    assert [any("bin" in pattern for pattern in call["allow_patterns"]) for call in calls] == [False, True]
    assert folder.parent == cache / "hub"
    assert not list(folder.glob("*.bin"))
    written = load_file(folder / "model.safetensors")
    before = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    assert all(torch.equal(written[name], before[name]) for name in before)
    assert fetch_model("one/model") == str(folder)


def test_a_pickle_that_would_run_code_is_refused(hub: Any, tmp_path: Path) -> None:
    import torch

    (tmp_path / "config.json").write_text("{}")
    torch.save({"weight": print}, tmp_path / "pytorch_model.bin")
    hub(lambda name, **_: str(tmp_path))
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin .* are no plain tensors .*give a model with"):
        fetch_model("one/model")


def test_a_model_without_weights_for_torch_is_refused(hub: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    hub(lambda name, **_: str(tmp_path))
    with pytest.raises(ConfigError, match="'one/model' holds no PyTorch weights"):
        fetch_model("one/model")


def test_a_sharded_model_is_whole_only_with_all_its_parts(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").write_bytes(b"")
    assert not module.has_weights(tmp_path)
    (tmp_path / "model-2.safetensors").write_bytes(b"")
    assert module.has_weights(tmp_path)


def test_the_vocabulary_of_deberta_v3_becomes_a_tokenizer_json(hub: Any, tmp_path: Path, spm_bytes: bytes) -> None:
    from transformers import AutoTokenizer

    save_bert(tmp_path, pickled=True)
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2", "vocab_size": 60}')
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    (tmp_path / "spm.model").write_bytes(spm_bytes)
    hub(lambda name, **_: str(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(fetch_model("microsoft/deberta-v3-base"))
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("the cat", "sorry no")["input_ids"])
    assert tokens[0] == "[CLS]"
    assert tokens.count("[SEP]") == 2
    assert "[UNK]" not in tokens
    assert tokenizer.pad_token_id == 0


def test_a_tokenizer_that_the_files_do_not_name_is_named_for_them(
    hub: Any, tmp_path: Path, spm_bytes: bytes
) -> None:
    from transformers import AutoTokenizer

    save_bert(tmp_path, pickled=True)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(spm_bytes)
    hub(lambda name, **_: str(tmp_path))
    folder = fetch_model("microsoft/Multilingual-MiniLM-L12-H384", "XLMRobertaTokenizer")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("the cat", "sorry no")["input_ids"])
    assert (tokens[0], tokens[-1], tokens.count("</s>")) == ("<s>", "</s>", 3)
    assert "token_type_ids" not in tokenizer.model_input_names


def test_a_missing_sentencepiece_is_named_with_its_extra(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    save_bert(tmp_path, pickled=False)
    (tmp_path / "spm.model").write_bytes(b"")
    hub(lambda name, **_: str(tmp_path))
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingDependencyError, match=r"SentencePiece file.*pip install 'demur\[hub\]'"):
        fetch_model("one/model")


def test_what_was_fetched_before_is_found_and_no_hub_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    save_bert(tmp_path, pickled=False)
    (tmp_path / "tokenizer.json").write_text("{}")
    asked: list[bool] = []

    def look(name: str, local_files_only: bool = False, **_: Any) -> str:
        asked.append(local_files_only)
        if name == "one/model":
            return str(tmp_path)
        raise FileNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", look)
    assert find_fetched("one/model") == str(tmp_path)
    with pytest.raises(MissingModelError, match=r"no hub is asked .*\(hf download other/model\)"):
        find_fetched("other/model")
    assert asked == [True, True]
