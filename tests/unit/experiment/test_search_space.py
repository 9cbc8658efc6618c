"""Tests of the space of a search: names, values, and settings with some of them replaced."""

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from demur.config import Settings, parse_settings
from demur.errors import ConfigError
from demur.experiment._search_config import Dimension, SearchConfig
from demur.experiment._search_space import (
    apply_params,
    count_grid,
    current_params,
    is_grid,
    params_key,
    resolve_space,
)
from demur.models.classical import ClassicalClassifier, ClassicalConfig
from demur.models.rules import RulesClassifier, RulesConfig


class Inner(Settings):
    epochs: int = Field(default=3, ge=1)
    rate: float = Field(default=0.1, gt=0)


class Outer(Settings):
    size: int = Field(default=8, ge=1)
    shape: tuple[int, int] = (1, 2)
    train: Inner = Inner(epochs=7, rate=0.5)


class Family(ClassicalClassifier):
    config_type = Outer
    search_space: ClassVar = {"train.rate": {"low": 0.1, "high": 1.0, "log": True}}

    @classmethod
    def default_space(cls, config):
        return cls.search_space


def resolve(family=Family, settings=None, **search):
    return resolve_space(parse_settings(SearchConfig, search), family, settings or family.config_type())


def test_without_a_space_the_family_suggests_one():
    assert resolve() == {"train.rate": Dimension(low=0.1, high=1.0, log=True)}


def test_a_space_of_ones_own_stands_alone():
    assert list(resolve(space={"size": [1, 2]})) == ["size"]


def test_a_family_that_suggests_nothing_says_what_to_do():
    with pytest.raises(
        ConfigError, match=r"family 'rules' suggests no settings to search; name some in search\.space"
    ):
        resolve(RulesClassifier, RulesConfig())


def test_a_grid_of_a_suggested_range_is_refused():
    with pytest.raises(
        ConfigError, match=r"a grid needs choices, and the family suggests a range for train\.rate"
    ):
        resolve(method="grid")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sise", "there is no setting 'sise' in this family; did you mean 'size'?"),
        ("train.epoch", "there is no setting 'epoch' under 'train'; did you mean 'epochs'?"),
        ("size.deep", "there is no setting 'deep' under 'size'"),
    ],
)
def test_an_unknown_setting_has_its_near_match(name, words):
    with pytest.raises(ConfigError, match=words):
        resolve(space={name: [1, 2]})


@pytest.mark.parametrize(
    "dimension",
    [[1, 0], {"low": 0, "high": 4, "int": True}, {"low": 1, "high": 4}, ["many"]],
    ids=["a choice", "an end", "no whole number", "a word"],
)
def test_a_value_that_the_family_refuses_ends_the_search_before_it_begins(dimension):
    with pytest.raises(ConfigError, match=r"search\.space\.size: key 'size'") as caught:
        resolve(space={"size": dimension})
    assert "\n" not in str(caught.value)


def test_what_is_not_searched_stays_as_it_was():
    found = apply_params(Outer(size=3), {"train.epochs": 2})
    assert found == Outer(size=3, train=Inner(epochs=2, rate=0.5))


def test_a_combination_that_the_family_refuses_says_which():
    with pytest.raises(ConfigError, match=r"search: .*lexical counts go with head logreg"):
        apply_params(ClassicalConfig(), {"lexical": True, "head": "nb"})


@given(epochs=st.integers(1, 9), rate=st.floats(0.01, 5), size=st.integers(1, 50))
def test_applied_values_come_back(epochs, rate, size):
    params = {"train.epochs": epochs, "train.rate": rate, "size": size}
    space = {name: Dimension(low=0.001, high=100.0) for name in params}
    assert current_params(apply_params(Outer(), params), space) == params


@pytest.mark.parametrize(
    ("dimension", "found"),
    [
        (Dimension(choices=(7, 8)), 8),
        (Dimension(choices=(1, 2)), None),
        (Dimension(low=1, high=8), 8),
        (Dimension(low=9, high=12), None),
    ],
)
def test_settings_outside_the_space_are_no_place_to_start(dimension, found):
    assert current_params(Outer(), {"size": dimension}) == (None if found is None else {"size": found})


def test_a_list_of_the_space_is_found_in_the_settings():
    assert current_params(Outer(), {"shape": Dimension(choices=([1, 1], [1, 2]))}) == {"shape": [1, 2]}


def test_a_grid_has_choices_alone_and_counts_their_combinations():
    choices = {"a": Dimension(choices=(1, 2, 3)), "b": Dimension(choices=(True, False))}
    assert (is_grid(choices), count_grid(choices)) == (True, 6)
    assert not is_grid(choices | {"c": Dimension(low=1, high=2)})


def test_a_key_does_not_depend_on_the_order_and_tells_true_from_1():
    assert params_key({"a": 1, "b": 2}) == params_key({"b": 2, "a": 1})
    assert params_key({"a": True}) != params_key({"a": 1})
