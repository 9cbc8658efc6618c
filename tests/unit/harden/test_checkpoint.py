"""A checkpoint holds what training changes, whole, and is taken over whether weights are split or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.errors import TrainingError
from demur.harden._checkpoint import (
    changing_tensors,
    load_optimizer,
    load_weights,
    save_optimizer,
    save_weights,
)
from demur.harden._sharded import gather

Make = Callable[..., Any]


def change(module: Any) -> dict[str, torch.Tensor]:
    """Give everything that changes new values; what it then is."""
    with torch.no_grad():
        for number, tensor in enumerate(changing_tensors(module).values()):
            tensor.fill_(number + 1.0)
    return {name: gather(one).clone() for name, one in changing_tensors(module).items()}


def train(module: Any, steps: int) -> torch.optim.AdamW:
    """An optimiser after some steps on gradients of ones."""
    trained = [one for one in module.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1)
    for _ in range(steps):
        for one in trained:
            one.grad = torch.ones_like(one)
        optimizer.step()
    return optimizer


def test_adapters_and_measured_scales_are_saved_and_no_base(breaker: Any, tmp_path: Path) -> None:
    save_weights(breaker, tmp_path / "new" / "model.safetensors")
    found = load_file(tmp_path / "new" / "model.safetensors")
    assert {name for name in found if ".lora_" not in name} == {"scales", "directions", "biases"}
    assert len(found) == 3 + 2 * 7 * 2


def test_only_the_writer_writes(breaker: Any, tmp_path: Path) -> None:
    save_weights(breaker, tmp_path / "new" / "model.safetensors", is_writer=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_split", [False, True])
def test_weights_come_back_whoever_held_them(
    breaker: Any, make_split: Make, tmp_path: Path, is_split: bool
) -> None:
    wanted = change(breaker)
    path = tmp_path / "model.safetensors"
    save_weights(breaker, path)
    module = make_split(breaker) if is_split else breaker
    with torch.no_grad():
        for tensor in changing_tensors(module).values():
            tensor.zero_()
    load_weights(module, path)
    assert all(torch.equal(gather(one), wanted[name]) for name, one in changing_tensors(module).items())
    save_weights(module, path)
    assert all(torch.equal(one, wanted[name]) for name, one in load_file(path).items())


def test_a_checkpoint_of_other_weights_is_refused(breaker: Any, tmp_path: Path) -> None:
    save_file({"scales": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(TrainingError, match=r"holds other weights than the breaker trains .* delete its folder"):
        load_weights(breaker, tmp_path / "model.safetensors")


def test_an_optimiser_goes_on_as_if_it_had_not_been_saved(breaker: Any, tmp_path: Path) -> None:
    optimizer = train(breaker, 2)
    save_optimizer(optimizer, tmp_path / "optimizer.safetensors")
    again = train(breaker, 0)
    load_optimizer(again, tmp_path / "optimizer.safetensors")
    wanted = optimizer.state_dict()
    found = again.state_dict()
    assert found["param_groups"] == wanted["param_groups"]
    assert len(found["state"]) == len(wanted["state"]) == 2 * 7 * 2
    for number, state in wanted["state"].items():
        assert found["state"][number].keys() == state.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(found["state"][number][name], one) for name, one in state.items())


def test_the_state_of_a_whole_optimiser_goes_to_a_split_one_and_back(
    breaker: Any, make_split: Make, tmp_path: Path
) -> None:
    save_optimizer(train(breaker, 2), tmp_path / "whole.safetensors")
    split = make_split(breaker)
    optimizer = train(split, 0)
    load_optimizer(optimizer, tmp_path / "whole.safetensors")
    save_optimizer(optimizer, tmp_path / "split.safetensors")
    wanted, found = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "split.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], one) for name, one in wanted.items())
    for one in (one for one in split.parameters() if one.requires_grad):
        one.grad = torch.ones_like(one)
    optimizer.step()
    assert {float(state["step"]) for state in optimizer.state_dict()["state"].values()} == {3}


def test_only_the_writer_writes_the_optimiser(breaker: Any, tmp_path: Path) -> None:
    save_optimizer(train(breaker, 1), tmp_path / "optimizer.safetensors", is_writer=False)
    assert list(tmp_path.iterdir()) == []
