"""Tests of the views of records and the store behind them; what they hold of each text is in test_blocks."""

import numpy as np
import pytest

from demur.data import Records
from demur.errors import ConfigError
from demur.models import Encoder, without_memory
from demur.models._anchors import load_anchors
from demur.models.embedding import EmbeddingConfig
from demur.models.embedding._views import EmbeddingStore, RecordVectors, find_store

ROWS = Records.from_rows(
    [
        {"prompt": "tell me about tea", "response": "Sure. Here is a little."},
        {"prompt": "tell me about bread", "response": "Sure. Here is a little."},
    ]
)


@pytest.fixture
def folder(make_checkpoint):
    """The folder of a tiny encoder."""
    return str(make_checkpoint("bert"))


@pytest.fixture
def counted(folder, monkeypatch):
    """A store of its own, and the texts its encoder was asked for."""
    store, asked = EmbeddingStore(EmbeddingConfig(encoder=folder, max_tokens=32, sentence_tokens=16)), []
    for name in ("embed", "embed_head"):
        original = getattr(store.encoder, name)

        def embed(texts, *given, original=original, **named):
            asked.extend(texts)
            return original(texts, *given, **named)

        monkeypatch.setattr(store.encoder, name, embed)
    return store, asked


def test_each_text_is_embedded_once_however_often_it_comes(counted):
    store, asked = counted
    first = store.texts(["tea", "bread", "tea"])
    second = store.texts(["bread", "tea"])
    assert sorted(asked) == ["bread", "tea"]
    np.testing.assert_array_equal(first[[1, 2]], second)


def test_texts_and_sentences_are_remembered_apart(counted):
    store, asked = counted
    store.texts(["tea"])
    store.sentences(["tea"])
    assert asked == ["tea", "tea"]


def test_a_timing_pays_for_every_text(counted):
    store, asked = counted
    store.texts(["tea"])
    with without_memory():
        store.texts(["tea"])
    assert asked == ["tea", "tea"]


def test_vectors_have_unit_length(counted):
    store, _ = counted
    for vectors in (store.texts(["tea", ""]), store.sentences(["bread"]), store.anchors):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_there_is_a_vector_for_every_anchor(counted):
    assert len(counted[0].anchors) == len(load_anchors())


def test_a_sentence_is_cut_to_fewer_tokens_than_a_text(folder):
    store = EmbeddingStore(EmbeddingConfig(encoder=folder, max_tokens=32, sentence_tokens=4))
    same, longer = store.sentences(["tea bread tea bread", "tea bread tea bread sure sure sure"])
    np.testing.assert_allclose(same, longer, atol=1e-6)
    assert not np.allclose(*store.texts(["tea bread tea bread", "tea bread tea bread sure sure sure"]), atol=1e-3)


def test_one_store_serves_all_configurations_of_an_encoder(folder):
    config = EmbeddingConfig(encoder=folder, max_tokens=32)
    assert find_store(config) is find_store(config.model_copy(update={"c": 3.0, "views": ("prompt",)}))
    assert find_store(config) is not find_store(config.model_copy(update={"max_tokens": 24}))


@pytest.mark.parametrize(("pooling", "times"), [("mean", 1), ("cls", 1), ("max", 1), ("mean_max", 2)])
def test_texts_sentences_and_anchors_are_pooled_alike(folder, pooling, times):
    store = find_store(EmbeddingConfig(encoder=folder, max_tokens=32, pooling=pooling))
    wanted = store.encoder.embed(["tea"], pooling=pooling)
    assert wanted.shape == (1, store.dimension) == (1, 16 * times)
    np.testing.assert_allclose(store.texts(["tea"]), wanted, atol=1e-6)
    np.testing.assert_allclose(store.sentences(["tea"]), wanted, atol=1e-6)
    assert store.anchors.shape[1] == store.dimension


def test_stores_that_differ_in_pooling_share_one_encoder(folder):
    one, other = (
        find_store(EmbeddingConfig(encoder=folder, max_tokens=32, pooling=pooling)) for pooling in ("mean", "max")
    )
    assert one is not other
    assert one.encoder is other.encoder


def test_an_encoder_is_shared_whatever_was_loaded_since(folder):
    def find(pooling, tokens):
        return find_store(EmbeddingConfig(encoder=folder, max_tokens=tokens, pooling=pooling))

    first = find("mean", 32)
    for tokens in (24, 25, 26):
        find("mean", tokens)
    assert find("max", 32).encoder is first.encoder


def test_vectors_on_disk_are_read_by_the_next_run(folder, tmp_path, monkeypatch):
    config = EmbeddingConfig(encoder=folder, max_tokens=32, sentence_tokens=16, cache=str(tmp_path))
    first = EmbeddingStore(config)
    texts, sentences = first.texts(["tea", "bread"]), first.sentences(["tea"])
    again = EmbeddingStore(config)
    monkeypatch.setattr(Encoder, "embed", None)
    monkeypatch.setattr(Encoder, "embed_head", None)
    np.testing.assert_array_equal(again.texts(["bread", "tea"]), texts[::-1])
    np.testing.assert_array_equal(again.sentences(["tea"]), sentences)


def test_vectors_of_another_pooling_or_length_are_not_mixed_up(folder, tmp_path):
    def find(**changes):
        settings = {"encoder": folder, "max_tokens": 32, "cache": str(tmp_path)} | changes
        return EmbeddingStore(EmbeddingConfig(**settings)).texts(["tea bread " * 9 + "sorry " * 5])

    first = find()
    assert not np.allclose(first, find(pooling="max"), atol=1e-3)
    assert not np.allclose(first, find(max_tokens=16), atol=1e-3)
    np.testing.assert_array_equal(first, find())


def test_a_timing_pays_for_what_lies_on_disk(folder, tmp_path, monkeypatch):
    store = EmbeddingStore(EmbeddingConfig(encoder=folder, max_tokens=32, cache=str(tmp_path)))
    store.texts(["tea"])
    asked = []
    embed = store.encoder.embed
    monkeypatch.setattr(store.encoder, "embed", lambda texts, **named: (asked.extend(texts), embed(texts))[1])
    with without_memory():
        store.texts(["tea"])
    assert asked == ["tea"]


def test_an_encoder_that_is_nowhere_is_named():
    with pytest.raises(ConfigError, match="there is no model folder"):
        find_store(EmbeddingConfig(encoder="./gone"))


@pytest.mark.parametrize("view", ["response", "prompt", "product", "head", "first_sentence", "sentence_mean"])
def test_a_view_is_a_row_of_doubles_for_every_record(folder, view):
    vectors = RecordVectors(ROWS, EmbeddingConfig(encoder=folder, max_tokens=32))
    found = vectors.view(view)
    assert (found.shape, found.dtype) == ((2, vectors.store.encoder.dimension), np.float64)
    assert np.allclose(found[0], found[1]) is (view not in ("prompt", "product"))
