"""Tests of the lock of a run folder: one process at a time, none left behind by a dead one."""

import os
import subprocess
import sys

import pytest

from demur.errors import RunError, StorageError
from demur.locks import NAME, lock_folder

HOLD = """
import sys, pathlib
from demur.locks import lock_folder
with lock_folder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_that_another_process_holds_is_refused_with_its_number(other, tmp_path):
    with (
        pytest.raises(RunError, match=rf"another run \(process {other.pid}\) is writing to .*--out"),
        lock_folder(tmp_path),
    ):
        pass


def test_the_lock_of_a_process_that_was_killed_is_free(other, tmp_path):
    other.kill()
    other.wait()
    assert (tmp_path / NAME).read_text() == f"{other.pid}\n"
    with lock_folder(tmp_path):
        assert (tmp_path / NAME).read_text() == f"{os.getpid()}\n"


def test_the_same_process_cannot_run_twice_in_a_folder_either(tmp_path):
    with lock_folder(tmp_path), pytest.raises(RunError, match="another run"), lock_folder(tmp_path):
        pass


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="inside"), lock_folder(tmp_path):
        raise ValueError("inside")
    with lock_folder(tmp_path):
        pass


def test_a_folder_that_is_not_there_is_made(tmp_path):
    with lock_folder(tmp_path / "runs" / "one"):
        assert (tmp_path / "runs" / "one" / NAME).is_file()


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="locking the run folder"), lock_folder(tmp_path / "run"):
        pass


def test_the_lock_needs_nothing_that_windows_lacks(tmp_path, monkeypatch):
    for name in ("pread", "pwrite"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with lock_folder(tmp_path):
        assert (tmp_path / NAME).read_text() == f"{os.getpid()}\n"
