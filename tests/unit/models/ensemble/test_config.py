import pytest

from demur.config import parse_settings
from demur.errors import ConfigError, RegistryError
from demur.models import list_presets
from demur.models.classical import ClassicalConfig
from demur.models.ensemble import EnsembleConfig, MemberSpec
from demur.models.ensemble._config import resolve_member


def parse(*members, **settings):
    return parse_settings(EnsembleConfig, {"members": list(members), **settings})


def test_a_name_alone_is_a_preset():
    found = parse("tfidf_nb", {"preset": "tfidf_svm", "settings": {"c": 2.0}}, {"family": "classical"})
    assert found.members[0] == MemberSpec(preset="tfidf_nb")
    assert found.names == ("tfidf_nb", "tfidf_svm", "classical")


def test_members_of_one_name_are_numbered():
    other = {"preset": "tfidf_nb", "settings": {"smoothing": 0.5}}
    assert parse("tfidf_nb", other, "tfidf_svm").names == ("tfidf_nb-1", "tfidf_nb-2", "tfidf_svm")


def test_a_members_settings_go_before_its_presets():
    family, settings = resolve_member(MemberSpec(preset="tfidf_logreg", settings={"c": 7.0}))
    assert family.family == "classical"
    assert settings == ClassicalConfig(**(list_presets()["tfidf_logreg"][1] | {"c": 7.0}))


def test_a_members_settings_are_merged_as_those_of_a_model_are(monkeypatch):
    from demur.models import CLASSIFIERS

    nested = {"train": {"epochs": 7, "learning_rate": 0.5}}
    monkeypatch.setattr(CLASSIFIERS.get("transformer"), "presets", {"nested": nested})
    _, settings = resolve_member(MemberSpec(preset="nested", settings={"train": {"epochs": 2}}))
    assert (settings.train.epochs, settings.train.learning_rate) == (2, 0.5)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (["tfidf_nb"], "at least 2 items"),
        (["tfidf_nb", "tfidf_nb"], r"members 1 and 2 \('tfidf_nb'\) are the same"),
        (["tfidf_nb", {"family": "classical", "settings": {"head": "nb"}}], "members 1 and 2 .* are the same"),
        (["tfidf_nb", "vote_soft"], r"member 2 \('vote_soft'\) is itself an ensemble; name its members"),
        (["tfidf_nb", {"family": "ensemble"}], "member 2 .* is itself an ensemble"),
        (["tfidf_nb", "tfidf_nx"], "member 2: no model is called 'tfidf_nx'.*did you mean 'tfidf_nb'"),
        (["tfidf_nb", {"family": "classicla"}], "member 2: no classifier is called 'classicla'"),
        (["tfidf_nb", {"family": "classical", "settings": {"hed": 1}}], "member 2: .*'hed'; did you mean 'head'"),
        (["tfidf_nb", {}], "takes either preset or family"),
        (["tfidf_nb", {"preset": "tfidf_svm", "family": "classical"}], "takes either preset or family"),
        (["tfidf_nb", {"famly": "classical"}], r"unknown key 'members.1.famly'; did you mean 'family'"),
    ],
)
def test_members_that_cannot_be_are_named(members, said):
    with pytest.raises(ConfigError, match=said):
        parse(*members)


def test_an_unknown_member_is_a_registry_error():
    with pytest.raises(RegistryError, match="no model is called 'nothing'"):
        resolve_member(MemberSpec(preset="nothing"))


def test_the_settings_survive_json():
    found = parse("tfidf_nb", {"family": "classical", "settings": {"c": 3.0}}, method="stacking")
    assert parse_settings(EnsembleConfig, found.model_dump(mode="json")) == found


@pytest.mark.parametrize("name", [name for name, (family, _) in list_presets().items() if family == "ensemble"])
def test_presets_differ_by_their_method_alone(name):
    found = EnsembleConfig(**list_presets()[name][1])
    assert found.members == EnsembleConfig().members
    assert found.method in name.replace("stacking", "stacking").replace("vote_", "")
