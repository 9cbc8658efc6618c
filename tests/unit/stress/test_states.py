"""Arrays are read back as they were kept; those in passing make room, and half a file counts for none."""

import errno

import numpy as np
import pytest

from demur.errors import StorageError
from demur.stress import Cost
from demur.stress._states import States, read_cost, write_cost


def test_the_latest_up_to_a_step_is_read_back(tmp_path):
    states = States(tmp_path / "new")
    for step in (0, 10, 20):
        states.save(step, {"a": np.full(3, step)}, is_stage=True)
    assert [States(tmp_path / "new").load(step)[0] for step in (0, 9, 10, 99)] == [0, 0, 10, 20]
    assert States(tmp_path / "new").load(15)[1]["a"].tolist() == [10, 10, 10]


def test_what_was_kept_in_passing_makes_room(tmp_path):
    states = States(tmp_path)
    for step, is_stage in ((0, True), (5, False), (10, False), (12, True), (15, False)):
        states.save(step, {"a": np.zeros(1)}, is_stage=is_stage)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step_{step:06d}.npz" for step in (0, 12, 15)]


def test_half_a_file_counts_for_none(tmp_path):
    states = States(tmp_path)
    states.save(1, {"a": np.arange(100)}, is_stage=True)
    states.save(2, {"a": np.arange(100)}, is_stage=True)
    path = tmp_path / "step_000002.npz"
    path.write_bytes(path.read_bytes()[:60])
    assert states.load(2)[0] == 1


def test_without_a_folder_nothing_is_kept(tmp_path):
    states = States(None)
    states.save(1, {"a": np.zeros(1)}, is_stage=True)
    assert states.load(1) is None
    assert States(tmp_path / "nowhere").load(1) is None


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(StorageError, match="no disk space left while"):
        States(tmp_path).save(1, {"a": np.zeros(1)}, is_stage=True)


def test_a_cost_is_read_back():
    cost = Cost(flops=1e18, tokens=12, seconds=0.5)
    assert read_cost(write_cost(cost)) == cost
