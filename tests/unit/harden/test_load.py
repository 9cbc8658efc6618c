"""The configuration from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from demur.errors import ConfigError
from demur.harden import load_harden

DATA = {"breakers": [{"path": "b.jsonl"}], "retain": [{"path": "r.jsonl", "share": 2}]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "harden.yaml"
    path.write_text(yaml.safe_dump({"data": DATA, "alpha": 5}), encoding="utf-8")
    return path


def test_flags_lie_over_the_environment_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMUR_STEPS", "7")
    monkeypatch.setenv("DEMUR_DATA__HELD_OUT", "0.5")
    monkeypatch.setenv("DEMUR_SEED", "3")
    found = load_harden(file, {"seed": 4})
    assert (found.alpha, found.steps, found.data.held_out, found.seed) == (5.0, 7, 0.5, 4)
    assert found.data.retain[0].share == 2.0


def test_the_defaults_are_the_methods(file: Path) -> None:
    found = load_harden(file, {"alpha": 10.0})
    assert (found.steps, found.batch_size, found.learning_rate) == (150, 16, 1e-4)
    assert (found.lora.rank, found.lora.alpha, found.lora.dropout) == (16, 16.0, 0.05)
    assert (found.mask, found.retain_loss, found.data.drop_request) == ("assistant", "scaled", 0.5)
    assert found.layers == (0.31, 0.62)


def test_an_unknown_key_names_the_nearest(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'layer'; did you mean 'layers'"):
        load_harden(file, {"layer": [1]})


def test_a_step_that_cannot_be_split_evenly_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch_size 16 cannot be split into 3 equal passes"):
        load_harden(file, {"accumulate": 3})


def test_a_file_without_data_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("alpha: 5\n")
    with pytest.raises(ConfigError, match="key 'data' is missing"):
        load_harden(tmp_path / "empty.yaml")
