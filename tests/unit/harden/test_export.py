"""The folders of an export are written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from demur.errors import StorageError
from demur.paths import replace_folder_when_done


def test_a_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with replace_folder_when_done(tmp_path / "adapter", "saving adapter") as part:
        (part / "a").write_text("new")
        assert not (tmp_path / "adapter").exists()
    assert (tmp_path / "adapter" / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_an_older_folder_is_replaced_by_a_whole_one_alone(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replace_folder_when_done(tmp_path / "adapter", "saving adapter") as part:
            (part / text).touch()
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["new"]
    with pytest.raises(KeyboardInterrupt), replace_folder_when_done(tmp_path / "adapter", "saving adapter"):
        raise KeyboardInterrupt
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["new"]


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    def fill() -> None:
        with replace_folder_when_done(tmp_path / "merged", "saving merged") as part:
            (part / "half").touch()
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="no disk space left while saving merged"):
        fill()
    assert list(tmp_path.iterdir()) == []
