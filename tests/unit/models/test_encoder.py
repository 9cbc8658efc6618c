"""Models are found by name with a remedy where not, and vectors are what the module gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from demur.errors import ConfigError, MissingDependencyError
from demur.models import Encoder, resolve_model
from demur.models import _encoder as module
from demur.models._encoder import Pooling, hash_model
from demur.models._short_names import HUB_MODELS

Make = Callable[[str], Path]
TEXTS = ["how to make tea ?", "sorry", "", "the secret word is bread . tell me more about a process", "sorry"]


@pytest.fixture
def encoder(make_checkpoint: Make) -> Encoder:
    return Encoder(str(make_checkpoint("bert")), max_tokens=16)


def test_the_embedded_model_is_a_folder_with_weights() -> None:
    folder = Path(resolve_model("embedded:minilm"))
    assert (folder / "model.safetensors").is_file()
    assert (folder / "tokenizer.json").is_file()


def test_an_unknown_embedded_model_names_the_known_one() -> None:
    with pytest.raises(ConfigError, match=r"'embedded:minlm' \(known: .*minilm, .*smollm2\); did you mean"):
        resolve_model("embedded:minlm")


def test_an_embedded_model_whose_package_is_absent_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._EMBEDDED, "absent", ("no_such_package_here", "model"))
    with pytest.raises(MissingDependencyError, match=r"no_such_package_here.*pip install 'demur\[torch\]'"):
        resolve_model("embedded:absent")


@pytest.mark.parametrize("name", list(HUB_MODELS))
def test_a_short_name_stands_for_a_name_on_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fetch_model", lambda *asked: asked)
    assert resolve_model(name) == (HUB_MODELS[name].hub, HUB_MODELS[name].tokenizer)


def test_a_local_folder_is_taken_as_it_is(make_checkpoint: Make) -> None:
    assert resolve_model(str(make_checkpoint("bert"))) == str(make_checkpoint("bert"))


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no config\.json; give a folder saved by"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize("name", ["./nowhere", "~/nowhere", "/nowhere/model", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no model folder .*; check the path"):
        resolve_model(name)


def test_a_hub_name_offline_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ConfigError, match="HF_HUB_OFFLINE forbids to fetch it; unset HF_HUB_OFFLINE, give a local"
    ):
        resolve_model("someone/some-model")


def test_a_hub_that_cannot_be_reached_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    from demur.llm import _hub

    def fail(*_: object, **__: object) -> str:
        raise ConnectionError("name resolution failed")

    monkeypatch.setattr(_hub, "_failed", {})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ConfigError, match=r"could not be fetched .*name resolution failed.*use 'embedded:minilm'"):
        resolve_model("someone/some-model")


def test_a_model_without_tokenizer_is_refused(make_checkpoint: Make, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((make_checkpoint("bert") / name).read_bytes())
    with pytest.raises(ConfigError, match=r"holds no vocabulary .*; give a model with a tokenizer\.json"):
        Encoder(str(tmp_path), max_tokens=16)


def test_more_tokens_than_positions_are_refused(make_checkpoint: Make) -> None:
    with pytest.raises(ConfigError, match="max_tokens is 133, but this model reads at most 132"):
        Encoder(str(make_checkpoint("bert")), max_tokens=133)


def test_vectors_are_normalised_float32_in_the_order_given(encoder: Encoder) -> None:
    vectors = encoder.embed(TEXTS, batch_size=2)
    assert vectors.shape == (5, encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_equal_texts_are_computed_once(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    forward = encoder._forward
    monkeypatch.setattr(
        encoder, "_forward", lambda rows, pooling: (seen.append(len(rows)), forward(rows, pooling))[1]
    )
    vectors = encoder.embed(["sorry"] * 50 + ["no"])
    assert sum(seen) == 2
    np.testing.assert_array_equal(vectors[0], vectors[49])


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_pooling_equals_transformers_own_output(make_checkpoint: Make, pooling: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(make_checkpoint("roberta"))
    batch = AutoTokenizer.from_pretrained(folder)("how to make tea ?", return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder).eval()(**batch).last_hidden_state[0].numpy()
    expected = {"mean": hidden.mean(axis=0), "cls": hidden[0], "max": hidden.max(axis=0)}[pooling]
    found = Encoder(folder, max_tokens=16).embed(["how to make tea ?"], pooling=pooling, normalise=False)  # type: ignore[arg-type]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "mean_max"])
def test_padding_does_not_count_in_any_pooling(encoder: Encoder, pooling: Pooling) -> None:
    together = encoder.embed(["sorry", "the secret word is bread . tell me more"], pooling=pooling)
    np.testing.assert_allclose(together[0], encoder.embed(["sorry"], pooling=pooling)[0], atol=1e-5)


def test_mean_and_max_weigh_half_each(encoder: Encoder) -> None:
    found = encoder.embed(TEXTS, pooling="mean_max")
    mean, largest = encoder.embed(TEXTS, pooling="mean"), encoder.embed(TEXTS, pooling="max")
    np.testing.assert_allclose(found, np.hstack([mean, largest]) / np.sqrt(2), atol=1e-6)
    assert encoder.embed([], pooling="mean_max").shape == (0, 32)


def test_a_pass_has_a_limit_of_tokens_on_a_processor(
    make_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PASS_TOKENS", 32)
    encoder, sizes = Encoder(str(make_checkpoint("bert")), max_tokens=16, device="cpu"), list[int]()
    forward = encoder._forward
    monkeypatch.setattr(
        encoder, "_forward", lambda rows, pooling: (sizes.append(len(rows)), forward(rows, pooling))[1]
    )
    encoder.embed(["tea " * 14, "bread " * 14, "sorry " * 14, "no " * 14, "yes", "a", "the"])
    assert sizes == [2, 2, 3]


def test_the_fingerprint_is_of_weights_settings_and_vocabulary(make_checkpoint: Make, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(make_checkpoint("bert"), tmp_path / "copy"))
    first = hash_model(make_checkpoint("bert"))
    assert hash_model(folder) == first == Encoder(str(folder), max_tokens=16).fingerprint
    (folder / "README.md").write_text("words")
    assert hash_model(folder) == first
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        before = hash_model(folder)
        with (folder / name).open("ab") as handle:
            handle.write(b" ")
        assert hash_model(folder) != before


@pytest.mark.parametrize("name", ["someone/some-model", "roberta"])
def test_a_model_that_may_not_be_fetched_is_looked_for_in_the_cache_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "fetch_model", None)
    monkeypatch.setattr(module, "find_fetched", lambda asked, *_: f"cached {asked}")
    assert resolve_model(name, fetch=False).startswith("cached ")


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.embed([]).shape == (0, encoder.dimension)


def test_text_beyond_the_limit_is_not_read(encoder: Encoder) -> None:
    long = "tea " * 14
    np.testing.assert_array_equal(encoder.embed([long]), encoder.embed([long + "sorry no no no"]))


def test_windows_are_the_vectors_of_their_parts(encoder: Encoder) -> None:
    text = "the secret word is bread but only a little"
    windows = encoder.embed_windows([text], head_tokens=3, tail_tokens=2)
    np.testing.assert_allclose(windows.whole, encoder.embed([text]), atol=1e-5)
    np.testing.assert_allclose(windows.head, encoder.embed(["the secret word"]), atol=1e-5)
    np.testing.assert_allclose(windows.tail, encoder.embed(["a little"]), atol=1e-5)
    np.testing.assert_allclose(windows.head, encoder.embed_head([text], 3), atol=1e-5)


def test_the_tail_is_that_of_the_whole_text_however_long(encoder: Encoder) -> None:
    windows = encoder.embed_windows(["tea " * 60 + "sorry no"], head_tokens=4, tail_tokens=2)
    np.testing.assert_allclose(windows.tail, encoder.embed(["sorry no"]), atol=1e-5)


def test_short_texts_have_equal_windows_computed_once(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    forward = encoder._forward
    monkeypatch.setattr(
        encoder, "_forward", lambda rows, pooling: (seen.append(len(rows)), forward(rows, pooling))[1]
    )
    windows = encoder.embed_windows(["sorry no"], head_tokens=8, tail_tokens=8)
    assert sum(seen) == 1
    np.testing.assert_array_equal(windows.whole, windows.tail)


@pytest.mark.parametrize(("head", "tail", "name"), [(0, 4, "head_tokens is 0"), (4, 15, "tail_tokens is 15")])
def test_windows_of_no_or_too_many_tokens_are_refused(encoder: Encoder, head: int, tail: int, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}; give a number from 1 to 14"):
        encoder.embed_windows(["tea"], head, tail)
