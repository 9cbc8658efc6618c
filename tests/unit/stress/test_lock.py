import pytest

from demur.errors import RunError, StorageError
from demur.stress._lock import lock_run


def test_a_folder_is_made_held_and_let_go(tmp_path):
    for _ in range(2):
        with lock_run(tmp_path / "run"):
            assert (tmp_path / "run").is_dir()


def test_a_held_folder_is_refused(tmp_path):
    with (
        lock_run(tmp_path),
        pytest.raises(RunError, match=r"another run is writing to .*--out"),
        lock_run(tmp_path),
    ):
        pass


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="locking the run folder"), lock_run(tmp_path / "run"):
        pass
