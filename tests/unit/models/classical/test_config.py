"""Tests of the settings of the classical family."""

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.models.classical import ClassicalConfig
from demur.models.classical._config import ADAPTIVE


@pytest.mark.parametrize("name", ["word_ngrams", "char_ngrams"])
@pytest.mark.parametrize("value", [(0, 2), (3, 2), (1, 9)])
def test_ngrams_out_of_order_or_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be two numbers from 1 to 8, the smaller first"):
        parse_settings(ClassicalConfig, {name: value})


@pytest.mark.parametrize("head", ["svc", "nb", "forest", "xgboost", "lightgbm"])
def test_lexical_columns_under_a_head_that_takes_no_negative_number_are_refused(head):
    with pytest.raises(ConfigError, match=f"lexical counts go with head logreg or svm, not {head}"):
        parse_settings(ClassicalConfig, {"head": head, "lexical": True})


@pytest.mark.parametrize(
    ("key", "value"),
    [("head", "svn"), ("c", 0), ("min_df", 0), ("max_chars", 10), ("trees", 0), ("fields", ["text"])],
)
def test_a_value_out_of_bounds_names_its_key(key, value):
    with pytest.raises(ConfigError, match=f"key '{key}"):
        parse_settings(ClassicalConfig, {key: value})


@pytest.mark.parametrize(("old", "new"), [(True, "balanced"), (False, "none")])
def test_the_old_key_for_balance_is_read(old, new):
    assert parse_settings(ClassicalConfig, {"balanced": old}) == ClassicalConfig(balance=new)


@pytest.mark.parametrize("values", [{"balanced": "adaptive"}, {"balanced": True, "balance": "none"}])
def test_the_old_key_takes_what_it_took_and_stands_alone(values):
    with pytest.raises(
        ConfigError, match="balanced: is the old name of balance:, with true and false; use balance"
    ):
        parse_settings(ClassicalConfig, values)


@pytest.mark.parametrize("head", ["nb", "forest"])
def test_adaptive_weights_under_a_head_without_use_for_them_are_refused(head):
    with pytest.raises(
        ConfigError, match=f"balance adaptive goes with head .*, not {head}; use balance: balanced"
    ):
        parse_settings(ClassicalConfig, {"head": head, "balance": "adaptive"})


@pytest.mark.parametrize("head", ADAPTIVE)
def test_adaptive_weights_have_targets_of_their_own(head):
    values = {"head": head, "balance": "adaptive", "controller": {"recall": 0.8, "patience": 1}}
    assert parse_settings(ClassicalConfig, values).controller.patience == 1


def test_every_setting_has_a_description():
    assert all(field.description for field in ClassicalConfig.model_fields.values())
