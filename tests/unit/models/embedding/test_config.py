"""Tests of the settings of the embedding family."""

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.models.embedding import EmbeddingClassifier, EmbeddingConfig


def test_views_that_repeat_are_refused():
    with pytest.raises(ConfigError, match="views repeat: prompt, prompt; name each once"):
        parse_settings(EmbeddingConfig, {"views": ["prompt", "prompt"]})


def test_lexical_columns_are_added_once():
    with pytest.raises(
        ConfigError, match=r"lexical and features\.lexical add the same columns; turn one of them off"
    ):
        parse_settings(EmbeddingConfig, {"lexical": True, "features": {"lexical": True}})
    assert parse_settings(EmbeddingConfig, {"lexical": True, "features": {}}).features is not None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("views", []),
        ("views", ["whole"]),
        ("max_tokens", 12),
        ("head", "tree"),
        ("pooling", "sum"),
        ("neighbours", 0),
        ("shrinkage", -1),
        ("c", 0),
        ("embedding_weight", 0),
    ],
)
def test_a_value_out_of_bounds_names_its_key(key, value):
    with pytest.raises(ConfigError, match=f"key '{key}"):
        parse_settings(EmbeddingConfig, {key: value})


def test_settings_of_the_terms_beside_the_views_are_checked_too():
    with pytest.raises(ConfigError, match=r"unknown key 'features\.min_dff'; did you mean 'min_df'"):
        parse_settings(EmbeddingConfig, {"features": {"min_dff": 3}})


@pytest.mark.parametrize("name", EmbeddingClassifier.presets)
def test_presets_are_settings(name):
    parse_settings(EmbeddingConfig, EmbeddingClassifier.presets[name])


def test_the_cache_is_no_part_of_what_is_saved():
    config = parse_settings(EmbeddingConfig, {"cache": "somewhere", "pooling": "max"})
    assert "cache" not in config.model_dump(mode="json")
    assert config.model_dump(mode="json")["pooling"] == "max"


@pytest.mark.parametrize("head", ["logreg", "svc", "prototype", "knn"])
def test_a_search_varies_settings_of_the_head_within_their_bounds(head):
    for lexical in (False, True):
        config = parse_settings(EmbeddingConfig, {"head": head, "lexical": lexical})
        space = EmbeddingClassifier.default_space(config)
        assert ("lexical_weight" in space) is lexical
        for name, limits in space.items():
            for value in (limits["low"], limits["high"]):
                parse_settings(EmbeddingConfig, {name: value})


def test_every_setting_has_a_description():
    assert all(field.description for field in EmbeddingConfig.model_fields.values())
