"""Wrappings hold the request, plain or encoded, and a file of them is checked."""

import base64
import codecs

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import ConfigError
from demur.stress.templates._config import Wrapper
from demur.stress.templates._wrap import choose_wrappers, read_wrappers, wrap


@pytest.fixture
def save(tmp_path):
    def make(*wrappers, **other):
        path = tmp_path / "wrappers.yaml"
        path.write_text(yaml.safe_dump({"source": "us", "license": "MIT", "wrappers": list(wrappers)} | other))
        return str(path)

    return make


@given(st.text())
def test_a_plain_wrapping_holds_the_request_as_it_is(request):
    for wrapper in read_wrappers().values():
        if wrapper.encode == "none":
            assert request in wrap(wrapper, request)


@given(st.text())
def test_an_encoded_request_can_be_read_back(request):
    coded = Wrapper(name="a", text="{request}", encode="base64")
    assert base64.b64decode(wrap(coded, request)).decode() == request
    turned = Wrapper(name="a", text="{request}", encode="rot13")
    assert codecs.encode(wrap(turned, request), "rot13") == request


def test_braces_in_a_request_are_no_place_to_fill():
    assert wrap(Wrapper(name="a", text="say: {request}"), "{0} {x}") == "say: {0} {x}"


def test_the_files_own_wrappings_have_a_source_and_both_encodings():
    known = read_wrappers()
    assert {"base64", "rot13", "none"} == {one.encode for one in known.values()}
    assert len(known) >= 8


def test_a_file_of_ones_own_takes_the_place_of_demurs(save):
    assert list(read_wrappers(save({"name": "mine", "text": "please, {request}"}))) == ["mine"]


def test_wrappings_are_chosen_by_name():
    known = read_wrappers()
    assert [one.name for one in choose_wrappers(("rot13", "table"), known)] == ["rot13", "table"]
    assert choose_wrappers((), known) == list(known.values())


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"no wrapping is called 'tabel' \(known: .*; did you mean 'table'"):
        choose_wrappers(("tabel",), read_wrappers())


def test_a_wrapping_without_a_place_for_the_request_is_refused(save):
    with pytest.raises(ConfigError, match=r"the wrapping 'mine' has no \{request\} in its text; put it in"):
        read_wrappers(save({"name": "mine", "text": "please"}))


def test_two_wrappings_of_one_name_are_refused(save):
    one = {"name": "mine", "text": "{request}"}
    with pytest.raises(ConfigError, match="the same name; rename one"):
        read_wrappers(save(one, one))


def test_a_file_without_a_licence_is_refused(save):
    with pytest.raises(ConfigError, match="license"):
        read_wrappers(save({"name": "mine", "text": "{request}"}, license=""))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml cannot be read \(FileNotFoundError\)"):
        read_wrappers(str(tmp_path / "nowhere.yaml"))
