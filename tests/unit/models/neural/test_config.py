"""Settings of the neural family: bounds, presets, and defaults that a partial training section keeps."""

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.models.neural import NeuralClassifier, NeuralConfig, NeuralTrainConfig
from demur.training import TrainConfig


@pytest.mark.parametrize("name", NeuralClassifier.presets)
def test_presets_are_settings_of_the_architecture_they_are_named_after(name):
    assert f"neural_{parse_settings(NeuralConfig, NeuralClassifier.presets[name]).architecture}" == name


def test_a_training_section_in_part_keeps_the_family_s_other_defaults():
    found = parse_settings(NeuralConfig, {"train": {"epochs": 3}}).train
    assert (found.epochs, found.learning_rate) == (3, NeuralTrainConfig().learning_rate)
    assert found.learning_rate > TrainConfig().learning_rate


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("architecture", "tree"),
        ("vocabulary", 100),
        ("widths", []),
        ("widths", [0]),
        ("dropout", 1),
        ("hidden", 1),
        ("embeddings", "glove"),
        ("train.epochs", 0),
    ],
)
def test_a_value_out_of_bounds_names_its_key(key, value):
    first, _, second = key.partition(".")
    with pytest.raises(ConfigError, match=f"key '{key}"):
        parse_settings(NeuralConfig, {first: {second: value} if second else value})


def test_heads_must_divide_the_embedding_of_a_transformer():
    with pytest.raises(ConfigError, match="heads=3 do not divide embedding_dim=128; give one that does"):
        parse_settings(NeuralConfig, {"architecture": "transformer", "heads": 3})
    assert parse_settings(NeuralConfig, {"architecture": "cnn", "heads": 3}).heads == 3


def test_widths_that_repeat_are_refused():
    with pytest.raises(ConfigError, match="widths repeat: 3, 3; name each once"):
        parse_settings(NeuralConfig, {"widths": [3, 3]})


def test_limits_are_those_of_the_settings():
    limits = NeuralConfig(max_tokens=100, prompt_tokens=20, response_cut="middle").limits
    assert (limits.max_tokens, limits.prompt_tokens, limits.response_cut) == (100, 20, "middle")


def test_settings_survive_json():
    config = NeuralConfig(architecture="bilstm", fields=("response",), widths=(2, 4))
    assert NeuralConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("name", NeuralClassifier.search_space)
def test_a_search_varies_settings_there_are_within_their_bounds(name):
    space = NeuralClassifier.search_space[name]
    for value in space.get("choices") or (space["low"], space["high"]):
        first, _, second = name.partition(".")
        parse_settings(NeuralConfig, {first: {second: value} if second else value})


def test_every_setting_has_a_description():
    for model in (NeuralConfig, NeuralTrainConfig):
        assert all(field.description for field in model.model_fields.values())
