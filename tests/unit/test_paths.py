"""Tests of files written whole or not at all, and of the hashes."""

import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import StorageError
from demur.paths import (
    cache_folder,
    full_disk_as_os_error,
    hash_file,
    hash_files,
    hash_value,
    replace_folder_when_done,
    replace_when_done,
    write_json,
    write_text,
)

JSONLIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_the_new_file_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["b.txt"]


def test_the_old_file_stays_until_the_block_ends(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("old")
    with replace_when_done(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("broken off"), KeyboardInterrupt("broken off")])
def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path, error):
    path = tmp_path / "b.txt"
    path.write_text("old")
    with pytest.raises(type(error), match="broken off"), replace_when_done(path) as part:  # noqa: PT012
        part.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["b.txt"]


def test_a_process_killed_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from pathlib import Path; from demur.paths import replace_when_done\n"
        "with replace_when_done(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_a_full_disk_is_one_clear_sentence_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("old")
    with (
        pytest.raises(StorageError, match=r"no disk space left while writing .*b\.txt; free some space"),
        replace_when_done(path),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"


def test_a_full_disk_that_a_library_reports_in_its_own_words_is_known(tmp_path):
    with pytest.raises(StorageError, match="no disk space left while writing"), replace_when_done(tmp_path / "b"):
        raise RuntimeError("underlying IO error: No space left on device (os error 28)")


def test_writing_one_file_inside_another_reports_the_inner_one(tmp_path):
    with (
        pytest.raises(StorageError, match=r"while writing .*inner; free some space .* where it stopped$"),
        replace_when_done(tmp_path / "outer"),
        replace_when_done(tmp_path / "inner"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"while writing .*file/b\.txt"):
        write_text(tmp_path / "file" / "b.txt", "x")


def test_others_may_read_what_was_written(tmp_path):
    write_text(tmp_path / "b.txt", "x")
    assert stat.S_IMODE((tmp_path / "b.txt").stat().st_mode) == 0o644


@given(JSONLIKE)
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value


def test_nan_is_refused_since_json_has_none(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert hash_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@given(st.dictionaries(st.text(), JSONLIKE, max_size=6), st.randoms())
def test_the_hash_of_a_value_does_not_depend_on_the_order_of_keys(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert hash_value(dict(items)) == hash_value(value)


@pytest.mark.parametrize(("one", "other"), [([1, 2], [2, 1]), ({"a": 1}, {"a": "1"}), (None, "null"), (1, True)])
def test_different_values_have_different_hashes(one, other):
    assert hash_value(one) != hash_value(other)


def test_the_cache_is_where_the_variables_say(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "demur"
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_the_cache_is_in_the_home_folder_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "demur"


def test_nothing_is_left_of_a_folder_that_could_not_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="no disk space left while writing"),
        replace_folder_when_done(tmp_path / "x", "writing x", keep=True),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path: Path) -> None:
    with replace_folder_when_done(tmp_path / "x", "writing x", keep=True) as part:
        (part / "mine").write_text("")
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "theirs").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["theirs"]


@pytest.mark.parametrize(
    "text", ["I/O error: No space left on device (os error 28)", "fail at inline_container.cc:672"]
)
def test_a_full_disk_is_an_os_error_whoever_met_it(text: str) -> None:
    with pytest.raises(OSError, match="No space left on device"), full_disk_as_os_error():
        raise RuntimeError(text)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match="shapes"), full_disk_as_os_error():
        raise RuntimeError("shapes differ")


def test_a_full_disk_is_what_python_calls_it():
    with pytest.raises(OSError, match="No space left") as found, full_disk_as_os_error():
        raise ValueError("I/O error: os error 28")
    assert found.value.errno == 28
    with pytest.raises(ValueError, match="other"), full_disk_as_os_error():
        raise ValueError("other")


def test_the_hash_of_files_follows_names_and_contents(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    first = hash_files([one])
    two.write_text("x")
    assert hash_files([two]) != first
    one.write_text("longer")
    assert hash_files([one]) != first
