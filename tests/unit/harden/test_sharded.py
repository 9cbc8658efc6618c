"""FSDP2: split by torch in this process; and two processes of accelerate's own FSDP2 end as one whole process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from demur.config import merge_values, parse_settings
from demur.harden import HardenConfig, Validation, harden
from demur.harden._module import Picks
from demur.harden._sharded import count_parts, gather, is_sharded, open_inside, settle_plugin, spread
from demur.llm import TargetConfig, load_target

Make = Callable[..., Any]
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    # As accelerate launch sets it where it is told nothing.
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
}
STEPS = {"steps": 4, "evaluate_every": 2, "checkpoint_every": 2, "kl_every": 2}


def test_what_is_split_is_gathered_and_spread_again(split_breaker: Any) -> None:
    assert is_sharded(split_breaker)
    parameter = next(one for name, one in split_breaker.named_parameters() if "layers.0" in name)
    assert isinstance(parameter, DTensor)
    assert not isinstance(gather(parameter), DTensor)
    again = spread(gather(parameter), parameter)
    assert (type(again), again.placements) == (DTensor, parameter.placements)
    assert torch.equal(gather(again), gather(parameter))
    assert count_parts(split_breaker) == 1


def test_what_is_whole_stays_as_it_is(breaker: Any) -> None:
    assert not is_sharded(breaker)
    assert count_parts(breaker) == 1
    tensor = torch.arange(3.0)
    assert spread(tensor, torch.zeros(3)) is tensor
    assert torch.equal(gather(tensor), tensor)


def test_states_of_a_split_module_are_those_of_the_whole_one(breaker: Any, make_split: Make) -> None:
    ids = torch.from_numpy(np.random.default_rng(0).integers(3, 250, (2, 7)))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    picks = Picks.of(torch.ones_like(ids, dtype=torch.bool), torch.tensor([False, True]))
    needed = {1: (True, True), 2: (True, True)}
    wanted = [breaker.trace(batch, picks, needed, is_adapted=one) for one in (False, True)]
    split = make_split(breaker)
    open_inside(split)
    found = [split.trace(batch, picks, needed, is_adapted=one) for one in (False, True)]
    for ours, theirs in zip(found, wanted, strict=True):
        assert all(torch.equal(ours[state][kind], theirs[state][kind]) for state in needed for kind in (0, 1))
    assert not torch.equal(found[0][2][1], found[1][2][1])
    # A pass with adapters off has left none of them without gradient.
    assert all(one.requires_grad for name, one in split.named_parameters() if ".lora_" in name)


def test_each_block_is_split_on_its_own_and_no_loss_is_rounded(breaker: Any) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, reshard_after_forward=False)
    plugin.set_mixed_precision("bf16")
    settle_plugin(plugin, breaker)
    plugin.set_auto_wrap_policy(breaker)
    assert plugin.auto_wrap_policy.keywords == {"transformer_layer_cls": {type(breaker.stack.blocks[0])}}
    assert plugin.reshard_after_forward is True
    assert plugin.mixed_precision_policy == MixedPrecisionPolicy(
        torch.bfloat16, torch.float32, output_dtype=None, cast_forward_inputs=False
    )


class Ended(NamedTuple):
    """What a run of ``demur harden`` left."""

    folder: Path
    written: dict[str, Any]
    seen: dict[str, np.ndarray]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Of the adapter."""
        return load_file(self.folder / "run" / "adapter" / "adapter_model.safetensors")

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """By step and name."""
        return {name: one for name, one in self.seen.items() if name.startswith("gradient/")}

    @property
    def validations(self) -> list[Validation]:
        """All of them."""
        return [Validation.from_json(one) for one in self.written["validations"]]


def launch(folder: Path, values: dict[str, Any], split: bool = True, **environ: str) -> Any:
    """Run ``demur harden`` in one process, or in two of FSDP2."""
    folder.mkdir(exist_ok=True)
    (folder / "harden.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = str(Path(__file__).with_name("fsdp2.py"))
    command = [sys.executable, *(two if split else []), script, "harden", "harden.yaml", "--out", "run", "--json"]
    settings = os.environ | {"PROBE": "seen.npz"} | (FSDP2 if split else {}) | environ
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)


def run(folder: Path, values: dict[str, Any], split: bool = True, **environ: str) -> Ended:
    """The same, to its end."""
    (folder / "seen.npz").unlink(missing_ok=True)
    found = launch(folder, values, split, **environ)
    assert found.returncode == 0, found.stderr[-3000:]
    seen = folder / "seen.npz"
    return Ended(folder, json.loads(found.stdout), dict(np.load(seen)) if seen.exists() else {})


def assert_close(one: Ended, other: Ended, rtol: float = 1e-4, atol: float = 2e-5) -> None:
    """Losses, norms of gradients and adapters, up to rounding."""
    assert len(one.written["history"]) == len(other.written["history"])
    for ours, theirs in zip(one.written["history"], other.written["history"], strict=True):
        for name in ("loss", "breaker", "retain", "grad_norm"):
            assert theirs[name] == pytest.approx(ours[name], rel=rtol, abs=1e-6), name
    found = other.weights
    assert found.keys() == one.weights.keys()
    for name, values in one.weights.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def whole(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """One process, without dropout."""
    return run(tmp_path_factory.mktemp("whole"), merge_values(values, STEPS), split=False)


@pytest.fixture(scope="module")
def split(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The same in two processes of FSDP2."""
    return run(tmp_path_factory.mktemp("split"), merge_values(values, STEPS))


@pytest.mark.slow
def test_two_split_processes_give_losses_and_adapter_of_one(whole: Ended, split: Ended) -> None:
    assert_close(whole, split)


@pytest.mark.slow
def test_every_gradient_is_that_of_one_process(whole: Ended, split: Ended) -> None:
    assert len(whole.gradients) == 4 * 2 * 7 * 2
    assert split.gradients.keys() == whole.gradients.keys()
    for name, values in whole.gradients.items():
        np.testing.assert_allclose(split.gradients[name], values, rtol=1e-3, atol=1e-5, err_msg=name)
    assert max(float(abs(one).max()) for one in whole.gradients.values()) > 0.1


@pytest.mark.slow
def test_validations_and_kl_are_those_of_one_process(whole: Ended, split: Ended) -> None:
    assert [one.step for one in split.validations] == [2, 4]
    for ours, theirs in zip(whole.validations, split.validations, strict=True):
        for name in ("cosine", "norm_ratio", "retain", "retain_kinds"):
            assert getattr(theirs, name) == pytest.approx(getattr(ours, name), rel=1e-4), name
        assert theirs.turned == pytest.approx(ours.turned, rel=1e-3)
        assert theirs.kl is not None
        assert ours.kl is not None
        assert (theirs.kl.mean, theirs.kl.p99) == pytest.approx((ours.kl.mean, ours.kl.p99), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["states_are_equal", "logits_are_equal", "adapted_differ"])
def test_with_adapters_off_a_split_model_is_the_base_bit_for_bit(whole: Ended, split: Ended, name: str) -> None:
    assert bool(whole.seen[name])
    assert bool(split.seen[name])


@pytest.mark.slow
def test_each_process_holds_its_part_of_the_blocks(whole: Ended, split: Ended) -> None:
    assert (int(whole.seen["parts"]), int(split.seen["parts"])) == (1, 2)
    assert int(split.seen["kept"]) * 2 == int(whole.seen["kept"])
    assert split.written["memory"]["optimizer"] * 2 == whole.written["memory"]["optimizer"]


@pytest.mark.slow
def test_the_adapter_of_split_processes_loads_on_the_whole_base(split: Ended, model_folder: Path) -> None:
    adapter = split.folder / "run" / "adapter"
    target = load_target(TargetConfig(model=str(model_folder), adapter=str(adapter), device="cpu"))
    loaded = {name: one for name, one in target.module.named_parameters() if ".lora_" in name}
    assert len(loaded) == len(split.weights) == 2 * 7 * 2
    for name, values in split.weights.items():
        np.testing.assert_array_equal(loaded[name.replace(".weight", ".default.weight")].numpy(), values)


@pytest.mark.slow
def test_a_checkpoint_holds_adapters_whole_and_no_base(split: Ended) -> None:
    (checkpoint,) = (split.folder / "run" / "checkpoints").glob("*/checkpoint-4")
    found = load_file(checkpoint / "model.safetensors")
    names = {name for name in found if ".lora_" in name}
    assert found.keys() - names == {"scales", "directions", "biases"}
    assert {found[name].shape for name in names if "lora_A" in name} == {(4, 32), (4, 48)}
    assert not list(checkpoint.glob("pytorch_model_fsdp*"))


@pytest.mark.slow
def test_one_whole_process_goes_on_from_a_checkpoint_of_split_ones(
    whole: Ended, split: Ended, values: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(split.folder / "run" / "checkpoints", tmp_path / "run" / "checkpoints")
    (last,) = (tmp_path / "run" / "checkpoints").glob("*/checkpoint-4")
    shutil.rmtree(last)
    steps: list[int] = []
    config = parse_settings(HardenConfig, merge_values(values, STEPS))
    found = harden(config, tmp_path / "run", lambda step, _: steps.append(step))
    assert steps == [3, 4]
    assert_close(whole, Ended(tmp_path, found.to_json(), {}))


@pytest.mark.slow
def test_a_killed_split_run_ends_as_the_unbroken_one(values: dict[str, Any], tmp_path: Path) -> None:
    """With dropout, whose draws are each process's own; and once ended it is not trained again."""
    settings = merge_values(values, STEPS | {"lora": {"dropout": 0.3}})
    unbroken = run(tmp_path / "unbroken", settings)
    killed = launch(tmp_path / "killed", settings, KILL_AT="3")
    assert killed.returncode != 0
    assert not (tmp_path / "killed" / "run" / "adapter").exists()
    resumed = run(tmp_path / "killed", settings)
    assert {name.split("/")[1] for name in resumed.gradients} == {"3", "4"}
    again = run(tmp_path / "killed", settings)
    assert again.seen == {}
    for other in (resumed, again):
        assert other.written["history"] == unbroken.written["history"]
        assert other.validations == unbroken.validations
        for name, wanted in unbroken.weights.items():
            np.testing.assert_array_equal(other.weights[name], wanted, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "rtol", "atol"),
    [
        (
            {"gradient_checkpointing": "on", "accumulate": 2, "retain_loss": "faithful", "mask": "all_text"},
            *(1e-4, 2e-5),
        ),
        # Two ways of rounding to 8 bits: DDP and one process of bf16 differ as much.
        ({"precision": "bf16", "target": {"dtype": "bf16"}, "objective": "random_vector"}, 2e-2, 2e-2),
    ],
    ids=["recomputed", "bf16"],
)
def test_other_settings_split_as_well(
    values: dict[str, Any], tmp_path: Path, changes: dict[str, Any], rtol: float, atol: float
) -> None:
    settings = merge_values(values, {"steps": 2, **changes})
    one, two = run(tmp_path / "one", settings, split=False), run(tmp_path / "two", settings)
    assert_close(one, two, rtol, atol)
    assert bool(two.seen["states_are_equal"])
    assert bool(two.seen["logits_are_equal"])
