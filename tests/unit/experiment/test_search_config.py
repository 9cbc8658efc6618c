"""Tests of the settings of a search: what is refused says so in one sentence."""

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.experiment._search_config import Dimension, SearchConfig


def parse(**values):
    return parse_settings(SearchConfig, values)


def test_a_list_stands_for_its_choices():
    assert parse(space={"c": [1, 2]}).space["c"] == Dimension(choices=(1, 2))


def test_true_and_1_are_two_choices():
    assert parse(space={"lexical": [True, 1, 1.0]}).space["lexical"].choices == (True, 1, 1.0)


def test_choices_may_be_lists():
    assert parse(space={"word_ngrams": [[1, 1], [1, 2]]}).space["word_ngrams"].choices == ([1, 1], [1, 2])


@pytest.mark.parametrize(
    ("dimension", "words"),
    [
        ([], r"a setting to search needs choices: \[...\], or low: and high:"),
        ({"low": 1}, "needs choices"),
        ({"choices": [1], "low": 1, "high": 2}, "give either choices, or low and high; not both"),
        ({"choices": [1, 2], "log": True}, "give either choices, or low and high; not both"),
        ([1, 2, 1], "the choice 1 stands there twice; give each value once"),
        ({"low": 2, "high": 2}, r"low \(2\) must be a number below high \(2\)"),
        ({"low": 3, "high": 1}, r"low \(3\) must be a number below high \(1\)"),
        ({"low": 0, "high": float("inf")}, r"must be a number below high \(inf\)"),
        ({"low": 0, "high": 1, "log": True}, r"low \(0\) must be above 0 where log is on"),
        ({"low": 0.5, "high": 2, "int": True}, r"must be whole numbers where int is on"),
        ({"lwo": 1, "high": 2}, "unknown key 'space.c.lwo'; did you mean 'low'?"),
        (4, "valid dictionary or instance of Dimension, got '4'"),
    ],
)
def test_a_bad_dimension_is_one_sentence_with_its_key(dimension, words):
    with pytest.raises(ConfigError, match=f"key 'space.c.*{words}|{words}") as caught:
        parse(space={"c": dimension})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a..b", ".c", "1c"])
def test_a_name_that_no_setting_can_have_is_refused(name):
    with pytest.raises(ConfigError, match=f"'{name}' is no dotted name of a setting"):
        parse(space={name: [1]})


def test_a_grid_of_a_range_is_refused():
    with pytest.raises(ConfigError, match="a grid needs choices, and c has a range; list its values"):
        parse(method="grid", space={"c": {"low": 1, "high": 2}})


@pytest.mark.parametrize(
    ("key", "value"),
    [("trials", 0), ("folds", 1), ("method", "random"), ("pruner", "hard"), ("timeout_s", 0), ("jobs", 0)],
)
def test_a_value_out_of_bounds_names_its_key(key, value):
    with pytest.raises(ConfigError, match=f"key '{key}'"):
        parse(**{key: value})


def test_every_setting_has_a_description():
    assert all(field.description for field in SearchConfig.model_fields.values())
    assert all(field.description for field in Dimension.model_fields.values())


def test_a_model_of_an_experiment_takes_a_search(config):
    (spec,) = config(models=[{"preset": "tfidf_nb", "search": {}}]).models
    assert spec.search == SearchConfig()
    assert config(models=["tfidf_nb"]).models[0].search is None
