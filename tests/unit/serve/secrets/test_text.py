"""Tests of texts that name secrets: what they are filled to, and that they print as stars wherever they go."""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

from demur.config import Settings, parse_settings
from demur.errors import ConfigError
from demur.serve.secrets import SecretText

PASSWORD = "correct horse/battery"
LITERAL = f"postgresql://demur:{PASSWORD}@db/demur"
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="{}$ "), min_size=6, max_size=30).filter(
    lambda text: text.strip("* \t\n") and not set(text) <= set("SecretText('*')")
)


class Database(Settings):
    url: SecretText = Field(default=SecretText("sqlite:///demur.db"), description="Where rows are kept.")


class Guard(Settings):
    database: Database = Database()
    key: SecretText | None = None


def test_a_reference_is_filled_with_what_is_found():
    assert SecretText("${secret:KEY}").fill({"KEY": "found"}.__getitem__) == "found"


def test_a_reference_may_name_a_key_and_a_path():
    text = SecretText("${secret:prod/demur/db#password}-${secret:arn:aws:secretsmanager:eu-west-1:1:secret:x}")
    assert text.names == ("prod/demur/db#password", "arn:aws:secretsmanager:eu-west-1:1:secret:x")


def test_a_name_that_stands_twice_is_listed_once():
    assert SecretText("${secret:A}${secret:B}${secret:A}").names == ("A", "B")


def test_a_text_without_reference_is_itself():
    text = SecretText("plain $5 {x} ${OTHER}")
    assert (text.names, text.fill(dict.fromkeys)) == ((), "plain $5 {x} ${OTHER}")


def test_the_password_of_a_url_is_encoded_and_the_rest_of_it_is_not():
    text = SecretText("postgresql://${secret:USER}:${secret:PASSWORD}@db/${secret:NAME}?x=${secret:NAME}")
    found = {"USER": "de mur", "PASSWORD": "a/b@c:d%", "NAME": "one/two"}
    assert text.fill(found.__getitem__) == "postgresql://de%20mur:a%2Fb%40c%3Ad%25@db/one/two?x=one/two"


def test_the_signs_of_a_name_do_not_end_the_credentials():
    url = SecretText("postgresql://demur:${secret:prod/db?#password}@db/demur")
    assert url.fill(lambda name: "p@ss") == "postgresql://demur:p%40ss@db/demur"


def test_a_whole_url_in_one_secret_is_left_as_it_is():
    assert SecretText("${secret:URL}").fill(lambda name: LITERAL) == LITERAL


@given(WORDS)
def test_any_password_comes_back_out_of_the_url_it_was_put_into(password):
    from urllib.parse import unquote, urlsplit

    url = SecretText("postgresql://demur:${secret:P}@db:5432/demur").fill(lambda name: password)
    assert unquote(urlsplit(url).password) == password
    assert (urlsplit(url).hostname, urlsplit(url).port) == ("db", 5432)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the secret is empty"),
        ("  ", "the secret is empty"),
        ("****", "this is the mask of a secret"),
        ("${secret:}", "is not complete"),
        ("${secret:A", "is not complete"),
        ("${secret}", "is not complete"),
        ("${secret:a b}", "is not complete"),
        ("x ${secret:A} ${secret:B", "is not complete"),
    ],
)
def test_what_is_no_secret_and_no_reference_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        SecretText(text)


def test_a_reference_is_shown_as_it_stands_and_a_sqlite_file_too():
    assert str(SecretText("${secret:NAME#key}")) == "${secret:NAME#key}"
    assert str(SecretText("sqlite:///demur.db")) == "sqlite:///demur.db"


@given(WORDS)
def test_a_literal_is_never_in_what_is_printed(secret):
    text = SecretText(secret)
    shown = [str(text), repr(text), f"{text}", f"{text!r}", str([text]), str({"a": text}), f"{text!s:>20}"]
    assert not [one for one in shown if secret in one]


def test_a_configuration_with_a_literal_prints_and_saves_stars():
    guard = parse_settings(Guard, {"database": {"url": LITERAL}, "key": "signing-key-1"})
    for shown in (str(guard), repr(guard), guard.model_dump_json(), json.dumps(guard.model_dump(mode="json"))):
        assert PASSWORD not in shown
        assert "signing-key-1" not in shown
        assert "**********" in shown


def test_a_configuration_with_a_reference_saves_the_reference_and_reads_it_again():
    guard = parse_settings(Guard, {"key": "${secret:KEY}"})
    again = parse_settings(Guard, json.loads(guard.model_dump_json()))
    assert (again, again.key.names) == (guard, ("KEY",))


def test_a_saved_mask_is_not_taken_for_the_secret():
    guard = parse_settings(Guard, {"key": "signing-key-1"})
    with pytest.raises(ConfigError, match="key 'key': this is the mask of a secret, not the secret"):
        parse_settings(Guard, json.loads(guard.model_dump_json()))


def test_as_python_values_a_configuration_keeps_its_secret():
    guard = parse_settings(Guard, {"key": "signing-key-1"})
    assert parse_settings(Guard, guard.model_dump()) == guard


@pytest.mark.parametrize("value", [12345678, ["signing-key-1"], {"a": "signing-key-1"}, b"signing-key-1", True])
def test_what_is_said_of_a_wrong_value_does_not_hold_it(value):
    with pytest.raises(ConfigError, match="key 'key': a secret must be a text, not a ") as caught:
        parse_settings(Guard, {"key": value})
    assert "signing" not in str(caught.value)
    assert "12345678" not in str(caught.value)


def test_a_url_in_the_place_of_its_mapping_is_refused_without_its_password():
    with pytest.raises(ConfigError, match=r"key 'database': .* got 'postgresql://\*\*\*@db/demur'") as caught:
        parse_settings(Guard, {"database": "postgresql://demur:tops@cret@db/demur"})
    assert "cret" not in str(caught.value)


def test_secrets_are_equal_by_what_they_are():
    assert SecretText("one two") == SecretText("one two")
    assert SecretText("one two") != SecretText("one too")
    assert SecretText("one two") != "one two"
    assert len({SecretText("one two"), SecretText("one two")}) == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_another_process_is_handed_the_whole_secret(copied):
    assert copied(SecretText(LITERAL)).fill(str) == LITERAL


def test_editors_are_told_that_it_is_a_password():
    schema = TypeAdapter(SecretText).json_schema()
    assert schema == {"type": "string", "format": "password", "writeOnly": True, "minLength": 1}


def test_the_schema_of_settings_shows_the_reference_and_never_a_literal_default():
    class Odd(Settings):
        key: SecretText = SecretText("built-in-key-1")

    assert "built-in-key-1" not in json.dumps(Odd.model_json_schema())
    assert "sqlite:///demur.db" in json.dumps(Database.model_json_schema())
