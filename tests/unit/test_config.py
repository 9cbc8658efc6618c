"""Tests of the settings base, the reader of files, the environment overlay and the wording of faults."""

import json
import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from demur.config import (
    Settings,
    expand_variables,
    merge_values,
    overlay_environment,
    parse_settings,
    parse_yaml,
    read_mapping,
)
from demur.errors import ConfigError

KEYS = st.text("abcdefgh_", min_size=1, max_size=8)
PLAIN = st.text(st.characters(blacklist_characters="$", blacklist_categories=("Cs", "Cc")), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


class Inner(Settings):
    depth: int = Field(default=1, ge=0, le=9)
    title: str = ""


class Outer(Settings):
    inner: Inner = Field(default_factory=Inner)
    items: tuple[Inner, ...] = Field(default=(Inner(),), min_length=1)
    named: dict[str, Inner] = Field(default_factory=dict)
    seed: int = 0
    maybe: Inner | None = None

    @model_validator(mode="after")
    def _check(self):
        if self.seed == 13:
            raise ValueError("13 is unlucky; take another seed")
        return self


class Required(Settings):
    seed: int


def fault(values, model=Outer):
    with pytest.raises(ConfigError, match="the configuration: ") as caught:
        parse_settings(model, values)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("values", "path", "near"),
    [
        ({"sede": 1}, "sede", "seed"),
        ({"inner": {"dept": 1}}, "inner.dept", "depth"),
        ({"items": [{}, {"titel": "x"}]}, "items.1.titel", "title"),
        ({"named": {"x": {"dephth": 2}}}, "named.x.dephth", "depth"),
        ({"maybe": {"tittle": "x"}}, "maybe.tittle", "title"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(values, path, near):
    error = fault(values)
    assert f"unknown key '{path}'; did you mean '{near}'? (known: " in str(error)
    assert error.key == path


def test_an_unknown_key_like_no_other_still_lists_the_known_ones():
    assert "unknown key 'zzz' (known: inner, items, maybe, named, seed)" in str(fault({"zzz": 1}))


def test_a_value_out_of_bounds_is_named_with_its_path_and_what_was_found():
    message = str(fault({"inner": {"depth": 12}}))
    assert message == "the configuration: key 'inner.depth': input should be less than or equal to 9, got '12'"


def test_all_faults_stand_in_one_message():
    message = str(fault({"sede": 1, "inner": {"depth": "deep"}}))
    assert "unknown key 'sede'" in message
    assert "key 'inner.depth': input should be a valid integer" in message


def test_a_faulty_item_is_not_also_reported_as_a_list_too_short():
    message = str(fault({"items": [{"depth": -1}]}))
    assert "items.0.depth" in message
    assert "at least 1 item" not in message


def test_a_list_that_is_truly_too_short_is_reported():
    assert "key 'items': list should have at least 1 item" in str(fault({"items": []}))


def test_a_missing_key_is_asked_for():
    assert "key 'seed' is missing; add it" in str(fault({}, Required))


def test_a_rule_of_the_model_speaks_in_its_own_words():
    assert str(fault({"seed": 13})) == "the configuration: 13 is unlucky; take another seed"


def test_a_key_that_is_no_text_is_refused():
    assert "key '1': keys should be strings" in str(fault({1: 2}))


def test_a_long_value_is_cut():
    assert len(str(fault({"seed": "x" * 5000}))) < 300


def test_the_credentials_of_a_url_are_not_repeated():
    message = str(fault({"inner": "postgresql://demur:p@ss/word@host/demur"}))
    assert message.endswith("got 'postgresql://***@host/demur'")


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        Outer().seed = 4


def test_defaults_are_checked_too():
    class Wrong(Settings):
        depth: int = Field(default=-1, ge=0)

    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Wrong()


@given(st.dictionaries(KEYS | st.sampled_from(["seed", "inner", "items"]), VALUES, max_size=5))
def test_any_mapping_is_taken_or_refused_in_one_line(values):
    said = ""
    try:
        parse_settings(Outer, values)
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said


@given(VALUES)
def test_values_without_a_variable_come_back_unchanged(value):
    assert expand_variables(value, {}) == value


@given(PLAIN, PLAIN)
def test_a_variable_wins_over_its_default(found, default):
    default = default.replace("}", "")
    assert expand_variables(f"<${{NAME:{default}}}>", {"NAME": found}) == f"<{found}>"
    assert expand_variables(f"<${{NAME:{default}}}>", {}) == f"<{default}>"


def test_variables_are_filled_in_nested_values_and_side_by_side():
    value = {"a": ["${X}/${Y:z}", 3], "b": {"c": "${X}"}}
    assert expand_variables(value, {"X": "1"}) == {"a": ["1/z", 3], "b": {"c": "1"}}


def test_a_variable_that_is_not_set_is_named_with_the_remedy():
    with pytest.raises(ConfigError, match=r"uses \$\{DATA_DIR\}, which is not set; export DATA_DIR="):
        expand_variables({"path": "${DATA_DIR}/x"}, {})


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_yaml_and_json_files_give_the_mapping_that_was_written(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("config", numbered=True)
    (folder / "a.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "a.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    assert read_mapping(folder / "a.json") == values
    assert read_mapping(folder / "a.yaml") == values


def test_a_reference_to_a_secret_is_left_as_it_stands():
    value = {"url": "postgresql://${USER}:${secret:prod/db#password}@db", "own": "${secret}"}
    filled = {"url": "postgresql://me:${secret:prod/db#password}@db", "own": "variable"}
    assert expand_variables(value, {"USER": "me", "secret": "variable"}) == filled


def test_a_file_may_use_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_FOLDER", "sets")
    (tmp_path / "a.yaml").write_text("path: ${SOME_FOLDER}/a.jsonl\nother: ${NOT_SET_AT_ALL:plain}\n")
    assert read_mapping(tmp_path / "a.yaml") == {"path": "sets/a.jsonl", "other": "plain"}


def test_an_empty_file_is_an_empty_mapping(tmp_path):
    (tmp_path / "a.yaml").write_text("# nothing yet\n")
    assert read_mapping(tmp_path / "a.yaml") == {}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("latin.yaml", "name: caf\u00e9".encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
        ("list.yaml", b"- a\n- b\n", "must hold a mapping of keys to values, not a list"),
        ("number.json", b"3", "must hold a mapping of keys to values, not a int"),
        ("broken.yaml", b"a: [1, 2\nb: }", "is not readable as yaml: "),
        ("broken.json", b'{"a": ', "is not readable as json: "),
        ("code.yaml", b"a: !!python/object/apply:os.getcwd []", "is not readable as yaml: "),
        ("deep.json", b"[" * 100_000, "is not readable as json: "),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{name} {said}") as caught:
        read_mapping(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no configuration file .*nowhere\.yaml; check the path"):
        read_mapping(tmp_path / "nowhere.yaml")


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; give the configuration file in it"):
        read_mapping(tmp_path)


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("x: 1")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_mapping(tmp_path / "a.yaml" / "b.yaml")


def test_the_environment_wins_over_the_file_and_leaves_the_rest(monkeypatch):
    monkeypatch.setenv("DEMUR_SEED", "5")
    monkeypatch.setenv("DEMUR_INNER__DEPTH", "3")
    values = {"seed": 1, "inner": {"depth": 2, "title": "kept"}}
    merged = overlay_environment(values, Outer)
    assert merged == {"seed": 5, "inner": {"depth": 3, "title": "kept"}}
    assert values == {"seed": 1, "inner": {"depth": 2, "title": "kept"}}


def test_a_variable_may_hold_a_whole_list_in_yaml(monkeypatch):
    monkeypatch.setenv("DEMUR_ITEMS", "[{depth: 4}]")
    assert parse_settings(Outer, overlay_environment({}, Outer)).items == (Inner(depth=4),)


def test_variables_of_others_are_left_alone(monkeypatch):
    monkeypatch.setenv("DEMUR_REAL_DATA", "somewhere")
    monkeypatch.setenv("SEED", "9")
    assert overlay_environment({}, Outer) == {}


def test_a_wrong_subkey_in_the_environment_is_refused_like_one_in_a_file(monkeypatch):
    monkeypatch.setenv("DEMUR_INNER__DEPHT", "3")
    assert "unknown key 'inner.depht'; did you mean 'depth'?" in str(fault(overlay_environment({}, Outer)))


def test_a_variable_that_is_not_yaml_is_named(monkeypatch):
    monkeypatch.setenv("DEMUR_INNER__TITLE", "[unclosed")
    with pytest.raises(ConfigError, match="the environment variable DEMUR_INNER__TITLE is not readable as YAML"):
        overlay_environment({}, Outer)


def test_the_overlay_reads_the_environment_at_the_call(monkeypatch):
    monkeypatch.setitem(os.environ, "DEMUR_SEED", "7")
    assert overlay_environment({}, Outer) == {"seed": 7}


def test_values_laid_over_others_replace_what_they_name_and_keep_the_rest():
    below = {"train": {"rate": 1, "epochs": 4}, "names": [1, 2], "c": {"d": 1}}
    over = {"train": {"epochs": 2}, "names": [3], "c": None}
    assert merge_values(below, over) == {"train": {"rate": 1, "epochs": 2}, "names": [3], "c": None}
    assert below["train"]["epochs"] == 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on: cv", {"on": "cv"}),
        ("a: yes", {"a": "yes"}),
        ("a: [true, False]", {"a": [True, False]}),
        ("a: 1.5", {"a": 1.5}),
        ("a: null", {"a": None}),
        ("", None),
    ],
)
def test_words_such_as_on_are_no_booleans(text, value):
    assert parse_yaml(text) == value


def test_yes_and_no_are_still_taken_where_a_setting_is_true_or_false(tmp_path):
    class Switch(Settings):
        a: bool

    (tmp_path / "c.yaml").write_text("a: no")
    assert parse_settings(Switch, read_mapping(tmp_path / "c.yaml")).a is False
