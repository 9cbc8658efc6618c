"""Tests of the presets: short names for families with settings."""

import pytest

from demur.config import parse_settings
from demur.errors import ConfigError, RegistryError
from demur.models import CLASSIFIERS, find_family, find_preset, list_presets
from demur.models.rules import RulesClassifier


def test_every_preset_is_valid_settings_of_its_family():
    for name, (family, settings) in list_presets().items():
        assert name == name.lower()
        parse_settings(CLASSIFIERS.get(family).config_type, settings)


def test_the_documented_presets_are_there():
    assert {
        "rules",
        "tfidf_logreg",
        "tfidf_svm",
        "tfidf_nb",
        "tfidf_forest",
        "tfidf_xgboost",
        "minilm_logreg",
    } <= set(list_presets())


def test_a_preset_gives_its_family_and_a_copy_of_its_settings():
    family, settings = find_preset("tfidf_nb")
    assert (family.family, settings) == ("classical", {"head": "nb"})
    settings["head"] = "svm"
    assert find_preset("tfidf_nb")[1] == {"head": "nb"}


@pytest.mark.parametrize(("wrong", "near"), [("tfidf_logrg", "tfidf_logreg"), ("rule", "rules")])
def test_an_unknown_name_has_its_near_match(wrong, near):
    with pytest.raises(RegistryError, match=f"no model is called '{wrong}' .*; did you mean '{near}'?"):
        find_preset(wrong)


def test_a_name_like_no_other_is_told_how_to_make_a_model():
    with pytest.raises(
        RegistryError, match=r"known: .*a model of your own is a mapping with family: and its settings"
    ):
        find_preset("qqqqqqqq")


def test_a_family_that_cannot_be_imported_takes_only_its_own_presets_along(monkeypatch):
    def get(name):
        if name != "rules":
            raise RegistryError(f"the classifier '{name}' is registered but cannot be imported")
        return RulesClassifier

    monkeypatch.setattr(CLASSIFIERS, "get", get)
    assert list_presets() == {"rules": ("rules", {})}


def test_settings_of_ones_own_are_merged_into_those_of_the_preset(monkeypatch):
    nested = {"train": {"epochs": 7, "learning_rate": 0.5}}
    monkeypatch.setattr(CLASSIFIERS.get("transformer"), "presets", {"nested": nested})
    family, settings = find_family("nested", None, {"train": {"epochs": 2}}, "here")
    assert family.family == "transformer"
    assert (settings.train.epochs, settings.train.learning_rate) == (2, 0.5)


def test_a_family_alone_starts_from_its_defaults():
    family, settings = find_family(None, "classical", {"c": 3.0}, "here")
    assert settings == family.config_type(c=3.0)


def test_a_fault_says_where_it_is():
    with pytest.raises(ConfigError, match="here: unknown key 'hed'"):
        find_family("tfidf_nb", None, {"hed": 1}, "here")
