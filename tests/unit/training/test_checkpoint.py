"""Checkpoints are found whole, hold what is trained, and belong to one training."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.errors import TrainingError
from demur.training import TokenDataset
from demur.training._checkpoint import (
    fingerprint_training,
    is_patience_spent,
    load_weights,
    prepare_folder,
    read_state,
    save_weights,
)

Module = Callable[[], Any]


def test_a_checkpoint_cut_off_while_writing_is_dropped(tmp_path: Path) -> None:
    assert prepare_folder(tmp_path, "x") is None
    for step, state in ((5, "{}"), (10, '{"epoch": 2')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(state)
    assert prepare_folder(tmp_path, "x") == tmp_path / "checkpoint-5"
    assert not (tmp_path / "checkpoint-10").exists()


@pytest.mark.parametrize(
    ("scores", "spent"), [([], False), ([0.1, 0.2], False), ([0.2, 0.1], False), ([0.2, 0.1, 0.2], True)]
)
def test_patience_counts_validations_since_the_best(scores: list[float], spent: bool) -> None:
    log = [{"loss": 1.0}, *({"eval_score": score} for score in scores)]
    assert is_patience_spent(log, patience=2) is spent


@pytest.mark.parametrize(
    ("scores", "spent"), [([0.2, nan, 0.1], True), ([nan, nan, 0.1], False), ([nan] * 3, True)]
)
def test_a_validation_that_is_no_number_beats_none(scores: list[float], spent: bool) -> None:
    assert is_patience_spent([{"eval_score": score} for score in scores], patience=2) is spent


def test_the_best_checkpoint_is_looked_for_beside_the_newest(tmp_path: Path) -> None:
    prepare_folder(tmp_path, "x")
    folder = tmp_path / "checkpoint-4"
    folder.mkdir()
    state = {"best_model_checkpoint": "elsewhere/checkpoint-2"}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    prepare_folder(tmp_path, "x")
    assert (read_state(folder) or {})["best_model_checkpoint"] == str(tmp_path / "checkpoint-2")


def test_a_mark_cut_off_while_writing_is_as_none(tmp_path: Path) -> None:
    prepare_folder(tmp_path, "x")
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "training.json").write_text('{"finger')
    assert prepare_folder(tmp_path, "x") is None
    assert not (tmp_path / "checkpoint-1").exists()


def test_patience_follows_the_figure_that_chooses() -> None:
    log = [{"eval_score": 0.5, "eval_choice": 0.5}, {"eval_score": 0.4, "eval_choice": 0.6}]
    assert not is_patience_spent(log, patience=1)


def test_only_what_is_trained_is_written(make_module: Module, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    module = make_module()
    module.embedding.weight.requires_grad_(False)
    save_weights(module, tmp_path / "w.safetensors")
    assert set(load_file(tmp_path / "w.safetensors")) == {"out.weight", "out.bias"}


def test_weights_come_back_as_they_were(make_module: Module, tmp_path: Path) -> None:
    first, second = make_module(), make_module()
    first.out.weight.data += 1
    save_weights(first, tmp_path / "w.safetensors")
    load_weights(second, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(second.out.weight.detach(), first.out.weight.detach())


def test_weights_of_another_model_are_refused(make_module: Module, tmp_path: Path) -> None:
    module = make_module()
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    save_weights(module, folder / "w.safetensors")
    module.out.bias.requires_grad_(False)
    with pytest.raises(TrainingError, match=r"checkpoint-3 holds other weights .* \(first: 'out.bias'\)"):
        load_weights(module, folder / "w.safetensors")


def test_the_fingerprint_changes_with_all_that_decides(dataset: TokenDataset, make_module: Module) -> None:
    def mark(module: Any = None, train: TokenDataset = dataset, valid: Any = None, **settings: Any) -> str:
        return fingerprint_training(module or make_module(), train, valid, settings)

    relabelled = TokenDataset(dataset.rows, 2 - dataset.targets)
    taught = TokenDataset(dataset.rows, dataset.targets, np.eye(3)[dataset.targets])
    frozen, moved = make_module(), make_module()
    frozen.out.requires_grad_(False)
    moved.out.bias.data += 1
    marks = [mark(), mark(train=relabelled), mark(train=taught), mark(valid=dataset), mark(seed=1)]
    marks += [mark(frozen), mark(moved)]
    assert len(set(marks)) == len(marks)
    assert mark() == mark()
