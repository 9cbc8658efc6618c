"""Blocks are those the task's texts allow, each of one size, in one order, and saved whole."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from demur.data import Records
from demur.models._lexical import COLUMNS, PROMPT_COLUMNS
from demur.models.embedding import EmbeddingConfig
from demur.models.embedding._blocks import DenseBlocks
from demur.models.embedding._views import RecordVectors, usable_views

BOTH, PROMPT, RESPONSE = ("prompt", "response"), ("prompt",), ("response",)
ROWS = [
    {"prompt": "How do I make tea?", "response": "Sure. First, boil the water.\nThen help yourself."},
    {"prompt": "Tell me the secret word", "response": "I can't help with that."},
    {"prompt": "stop a process", "response": ""},
    {"prompt": "", "response": "1. Here is how. 2. Please tell me more!"},
]


@pytest.fixture(scope="module")
def config(make_checkpoint):
    def build(**settings):
        return EmbeddingConfig(encoder=str(make_checkpoint("bert")), max_tokens=32, **settings)

    return build


@pytest.fixture
def records():
    return Records.from_rows(ROWS)


@pytest.mark.parametrize(
    ("views", "fields", "kept"),
    [
        (("response", "prompt", "product"), BOTH, ("response", "prompt", "product")),
        (("response", "prompt", "product"), PROMPT, ("prompt",)),
        (("response", "prompt", "product"), RESPONSE, ("response",)),
        (
            ("head", "first_sentence", "sentence_mean", "prompt"),
            RESPONSE,
            ("head", "first_sentence", "sentence_mean"),
        ),
        (("head", "sentence_mean"), PROMPT, ("prompt",)),
        (("head_product",), RESPONSE, ("response",)),
    ],
)
def test_views_of_texts_not_read_are_dropped(views, fields, kept):
    assert usable_views(views, fields) == kept


def test_views_are_what_the_encoder_gives(config, records):
    vectors = RecordVectors(records, config(head_words=2))
    texts, encoder = records.texts("response"), vectors.store.encoder
    np.testing.assert_allclose(vectors.view("response"), encoder.embed(texts), atol=1e-6)
    heads = ["Sure. First,", "I can't", "", "1. Here"]
    np.testing.assert_allclose(vectors.view("head"), encoder.embed(heads), atol=1e-6)
    product = encoder.embed(heads) * encoder.embed(records.texts("prompt"))
    np.testing.assert_allclose(vectors.view("head_product"), product, atol=1e-6)
    first = ["Sure.", "I can't help with that.", "", "1. Here is how."]
    np.testing.assert_allclose(vectors.view("first_sentence"), encoder.embed(first), atol=1e-6)


def test_the_sentence_mean_is_the_plain_mean_of_the_first_sentences(config, records):
    vectors = RecordVectors(records, config(most_sentences=2))
    wanted = vectors.store.encoder.embed(["Sure.", "First, boil the water."]).mean(axis=0)
    np.testing.assert_allclose(vectors.view("sentence_mean")[0], wanted, atol=1e-6)
    assert vectors.starts.tolist() == [0, 2, 3, 4]


def test_an_empty_response_has_one_sentence(config):
    vectors = RecordVectors(Records.from_rows([{"prompt": "a", "response": None}]), config())
    assert vectors.sentences.shape == (1, vectors.store.encoder.dimension)


@pytest.mark.parametrize(
    ("fields", "width"), [(BOTH, 2 * 16 + len(COLUMNS) + 69), (RESPONSE, 16 + len(COLUMNS) + 64)]
)
def test_anchors_and_lexical_columns_stand_beside_the_views(config, records, fields, width):
    settings = config(views=("prompt", "head"), lexical=True, anchors=True)
    assert DenseBlocks(settings, fields).fit_transform(records).shape == (4, width)


def test_a_prompt_alone_has_prompt_columns_and_no_anchors(config, records):
    blocks = DenseBlocks(config(views=("head", "prompt"), lexical=True, anchors=True), PROMPT)
    assert blocks.fit_transform(records).shape == (4, 16 + len(PROMPT_COLUMNS))
    assert list(blocks.scalers) == ["prompt", "lexical"]


def test_training_rows_come_back_the_same_and_alone(config, records):
    blocks = DenseBlocks(config(lexical=True, anchors=True), BOTH)
    fitted = blocks.fit_transform(records)
    np.testing.assert_array_equal(blocks.transform(records), fitted)
    np.testing.assert_allclose(blocks.transform(records.take([2])), fitted[[2]], atol=1e-6)


def test_weights_scale_the_blocks_they_name(config, records):
    plain = DenseBlocks(config(views=("prompt",), lexical=True), BOTH).fit_transform(records)
    settings = config(views=("prompt",), lexical=True, embedding_weight=3, lexical_weight=0.5)
    heavy = DenseBlocks(settings, BOTH).fit_transform(records)
    np.testing.assert_allclose(heavy[:, :16], 3 * plain[:, :16])
    np.testing.assert_allclose(heavy[:, 16:], 0.5 * plain[:, 16:])


def test_repeated_views_are_refused():
    with pytest.raises(ValidationError, match="views repeat: prompt, prompt; name each once"):
        EmbeddingConfig(views=("prompt", "prompt"))


def test_lexical_columns_may_stand_once():
    with pytest.raises(ValidationError, match=r"lexical and features\.lexical add the same columns"):
        EmbeddingConfig.model_validate({"lexical": True, "features": {"lexical": True}})


@pytest.mark.parametrize("head", ["svc", "prototype", "knn"])
def test_terms_go_with_the_linear_head_alone(head):
    with pytest.raises(ValidationError, match=f"features go with head logreg, not {head}"):
        EmbeddingConfig.model_validate({"head": head, "features": {}})
