"""Tests of the configuration of an experiment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.experiment import ExperimentConfig, ModelSpec
from demur.models import list_presets
from demur.tasks import BUILT_IN


def parse(**values):
    return parse_settings(ExperimentConfig, values)


def test_the_defaults_need_no_file_and_cover_every_built_in_task():
    config = parse()
    assert set(config.tasks) == set(BUILT_IN)
    assert all(source.path.startswith("starter") for source in (*config.data, *config.blind))


def test_the_default_models_are_presets_and_the_rules_come_first():
    names = [spec.preset for spec in parse().models]
    assert names[0] == "rules"
    assert set(names) <= set(list_presets())


def test_a_model_may_be_a_name():
    (spec,) = parse(models=["rules"]).models
    assert (spec.name, spec.preset, spec.family) == ("rules", "rules", None)


@pytest.mark.parametrize("key", ["preset", "family"])
def test_a_model_without_a_name_is_called_after_what_it_starts_from(key):
    (spec,) = parse(models=[{key: "classical", "settings": {"head": "nb"}}]).models
    assert spec.name == "classical"


@pytest.mark.parametrize("model", [{"name": "x"}, {"name": "x", "preset": "rules", "family": "rules"}])
def test_a_model_starts_from_exactly_one_thing(model):
    with pytest.raises(ConfigError, match="model 'x' needs either preset: or family:"):
        parse(models=[model])


def test_names_of_models_may_not_repeat():
    with pytest.raises(ConfigError, match="model names repeat: rules; give each its own name:"):
        parse(models=["rules", "tfidf_nb", "rules"])


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "x y"])
def test_a_name_that_is_no_folder_name_is_refused(name):
    with pytest.raises(ConfigError, match="key 'name': string should match pattern"):
        parse(name=name)
    with pytest.raises(ConfigError, match=r"key 'models\.0\.name': string should match pattern"):
        parse(models=[{"name": name, "preset": "rules"}])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"modles": ["rules"]}, r"unknown key 'modles'; did you mean 'models'\?"),
        ({"models": [{"preset": "rules", "setings": {}}]}, r"unknown key 'models\.0\.setings'.*'settings'\?"),
        ({"data": [{"path": "x", "limt": 3}]}, r"unknown key 'data\.0\.limt'; did you mean 'limit'\?"),
        ({"clean": {"drop_duplicate": True}}, r"unknown key 'clean\.drop_duplicate'.*'drop_duplicates'\?"),
        ({"split": {"tets": 0.1}}, r"unknown key 'split\.tets'; did you mean 'test'\?"),
        ({"select": {"thresholds": {"f1_macro": {"mn": 1}}}}, r"'select\.thresholds\.f1_macro\.mn'.*'min'\?"),
        (
            {"validation": {"cv": 51}},
            r"key 'validation\.cv': give a number of folds from 2 to 50, 0 for none, or auto",
        ),
        ({"validation": {"leave_one_out": ["group"]}}, "input should be 'model' or 'source', got 'group'"),
        ({"tasks": []}, "key 'tasks': list should have at least 1 item"),
        ({"data": []}, "key 'data': list should have at least 1 item"),
        ({"models": []}, "key 'models': list should have at least 1 item"),
        ({"draws": -1}, "key 'draws': input should be greater than or equal to 0"),
        ({"seed": 2**31}, "key 'seed': input should be less than or equal to"),
        ({"level": 1}, "key 'level': input should be less than 1"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_path(values, said):
    with pytest.raises(ConfigError, match=said) as caught:
        parse(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"select": {"on": "cv"}}, r"select\.on: cv needs validation\.cv of at least 2 folds; set it"),
        ({"split": {"valid": 0}}, r"no rows to choose a winner on; set split\.valid above 0, or validation\.cv"),
        (
            {"split": {"valid": 0}, "select": {"on": "valid"}, "validation": {"cv": 5}},
            "no rows to choose a winner on",
        ),
    ],
)
def test_without_rows_to_choose_on_the_configuration_is_refused_before_anything_is_trained(values, said):
    with pytest.raises(ConfigError, match=said):
        parse(**values)


@pytest.mark.parametrize("on", ["auto", "cv"])
def test_cross_validation_makes_validation_rows_dispensable(on):
    assert parse(split={"valid": 0}, select={"on": on}, validation={"cv": 5}).select.on == on


@given(
    seed=st.integers(0, 2**31 - 1),
    draws=st.integers(0, 100_000),
    names=st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,9}", fullmatch=True), min_size=1, unique=True),
)
def test_what_is_saved_reads_back_as_the_same_configuration(seed, draws, names):
    models = [{"name": name, "preset": "tfidf_nb"} for name in names]
    config = parse(seed=seed, draws=draws, models=models)
    assert parse(**config.model_dump(mode="json")) == config


def test_every_key_says_what_it_is():
    def undescribed(model):
        return [name for name, field in model.model_fields.items() if not field.description]

    for model in (ExperimentConfig, ModelSpec):
        assert undescribed(model) == []


@pytest.mark.parametrize(("cv", "classical", "transformer"), [(0, 0, 0), (10, 10, 10), ("auto", 4, 3)])
def test_automatic_folds_are_fewer_for_families_that_take_long(cv, classical, transformer):
    validation = parse(validation={"cv": cv}).validation
    assert [validation.folds_for(family) for family in ("rules", "classical", "embedding", "ensemble")] == [
        classical
    ] * 4
    assert [validation.folds_for(family) for family in ("neural", "transformer", "dual")] == [transformer] * 3


@pytest.mark.parametrize("cv", [51, 1, -1, 2.5, "many", True, None])
def test_a_wrong_number_of_folds_says_what_is_taken(cv):
    with pytest.raises(
        ConfigError, match=r"key 'validation\.cv': give a number of folds from 2 to 50, 0 for none, or auto"
    ):
        parse(validation={"cv": cv})


def test_the_first_of_several_seeds_is_that_of_the_saved_models():
    assert parse(seed=3).first_seed == 3
    assert parse(seed=3, seeds=[5, 6]).first_seed == 5


def test_a_seed_given_twice_is_refused():
    with pytest.raises(ConfigError, match="key 'seeds': seeds repeat; give each once"):
        parse(seeds=[1, 1])
