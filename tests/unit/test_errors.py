"""Tests of the tree of errors: as drawn, with the builtin and the exit code each promises."""

import errno
import inspect
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur import errors
from demur.errors import (
    DemurError,
    MissingColumnError,
    MissingDependencyError,
    StorageError,
    is_disk_full,
    near_match,
    require,
    translate_os_error,
)

CLASSES = {
    name: found
    for name, found in vars(errors).items()
    if inspect.isclass(found) and issubclass(found, Exception) and found.__module__ == "demur.errors"
}
BUILTINS = ("ValueError", "LookupError", "OSError", "ConnectionError", "ImportError")


def drawn_tree():
    """Name to (parent, builtin, exit code) as the module's docstring draws them."""
    tree, above = {}, []
    for line in errors.__doc__.split("::\n", 1)[1].splitlines():
        found = re.match(r"(?P<lead>[\s│├└─]*)(?P<name>\w+Error)(?: \((?P<note>[\w-]+)[^)]*\))?(?P<rest>.*)", line)
        if not found:
            continue
        depth = (len(found["lead"]) - 4) // 4
        above = [*above[:depth], found["name"]]
        code = re.search(r"exit code (\d)", found["rest"])
        tree[found["name"]] = (above[depth - 1] if depth else None, found["note"], code and int(code[1]))
    return tree


TREE = drawn_tree()


def test_the_drawing_has_every_error_and_no_other():
    assert set(TREE) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"DemurError"}))
def test_each_error_has_the_parent_that_is_drawn(name):
    parents = [base.__name__ for base in CLASSES[name].__bases__ if base.__name__ in CLASSES]
    assert parents == [TREE[name][0]]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_error_is_the_builtin_that_is_drawn(name):
    bases = [base.__name__ for base in CLASSES[name].__bases__ if base.__name__ not in (*CLASSES, "Exception")]
    drawn = TREE[name][1]
    assert bases == ([drawn] if drawn in BUILTINS else [])


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"DemurError"}))
def test_each_error_ends_the_command_with_the_code_that_is_drawn(name):
    at = name
    while TREE[at][2] is None:
        at = TREE[at][0]
    assert CLASSES[name].exit_code == TREE[at][2]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_error_says_what_it_is(name):
    assert CLASSES[name].__doc__
    assert issubclass(CLASSES[name], DemurError)


def test_a_missing_column_names_what_is_there_and_the_nearest():
    error = MissingColumnError("respons", ["prompt", "response"], "rows.csv")
    assert str(error) == (
        "rows.csv has no column 'respons' (it has: prompt, response); map one with "
        "columns: {respons: <their name>} or --column respons=<their name>; did you mean 'response'?"
    )
    assert (error.column, error.available) == ("respons", ["prompt", "response"])


def test_a_missing_column_of_a_wide_table_lists_a_dozen():
    message = str(MissingColumnError("zz", [f"column_{number:03}" for number in range(500)]))
    assert message.count("column_") == 12


def test_a_table_without_columns_has_none():
    assert "(it has: none)" in str(MissingColumnError("prompt", []))


@given(st.text(max_size=10), st.lists(st.text(min_size=1, max_size=10), max_size=6))
def test_a_near_match_is_one_of_the_known_names_or_silence(name, known):
    said = near_match(name, known)
    assert said == "" or said in {f"; did you mean '{one}'?" for one in known}


def test_a_name_is_nearest_to_itself():
    assert near_match("seed", ["speed", "seed", "need"]) == "; did you mean 'seed'?"


def test_nothing_near_is_said_to_be_nothing():
    assert near_match("seed", ["quartz"]) == ""


def test_an_optional_library_that_is_there_is_given():
    assert require("json", extra="none").loads("1") == 1


def test_an_optional_library_that_is_not_there_names_the_extra():
    with pytest.raises(MissingDependencyError, match=r"'no_such_module' is needed.*pip install 'demur\[torch\]'"):
        require("no_such_module", extra="torch")


def test_a_library_that_breaks_on_import_says_why(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_backend")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingDependencyError, match="No module named 'no_such_backend'"):
        require("half_installed", extra="torch")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no disk space left while writing x; free some space"),
        (errno.EDQUOT, "no disk space left while writing x; free some space"),
        (errno.EACCES, r"permission denied while writing x \(here\.txt\); check its permissions"),
        (errno.EROFS, r"permission denied while writing x \(here\.txt\); check its permissions"),
        (errno.EIO, "Input/output error while writing x"),
    ],
)
def test_an_error_of_the_system_becomes_one_sentence(number, said):
    import os

    error = translate_os_error(OSError(number, os.strerror(number), "here.txt"), "writing x")
    assert isinstance(error, StorageError)
    assert re.match(said, str(error))


def test_a_full_disk_is_known_through_the_words_of_a_library():
    hidden = RuntimeError("underlying IO error: No space left on device (os error 28)")
    assert is_disk_full(hidden)
    assert str(translate_os_error(hidden, "writing x")).startswith("no disk space left while writing x")
    assert not is_disk_full(RuntimeError("underlying IO error: broken pipe"))


def test_an_error_that_has_its_sentence_already_keeps_it():
    first = translate_os_error(OSError(errno.ENOSPC, "x"), "writing a")
    assert translate_os_error(first, "writing b") is first


def test_an_error_of_the_system_without_number_keeps_its_words():
    assert str(translate_os_error(OSError("odd thing"), "writing x")) == "odd thing while writing x"


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_reaches_another_process_whole(name):
    kind = CLASSES[name]
    wanted = {"key": "a.b", "model": "m", "column": "x", "available": ["y"], "message": "what is wrong"}
    taken = [one for one in inspect.signature(kind.__init__).parameters if one in wanted]
    error = kind(**{one: wanted[one] for one in taken}) if taken else kind("what is wrong")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
