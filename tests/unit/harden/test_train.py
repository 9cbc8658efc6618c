"""Hardening from configuration to adapter; a killed run ends as an unbroken one, two processes as one."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from demur.errors import ConfigError, EmptyDataError, StorageError
from demur.harden import HardenResult, harden
from demur.harden._train import resolve_targets
from demur.llm import TargetConfig, load_target

Make = Callable[..., Any]
DROPOUT = {"rank": 4, "dropout": 0.3}


@pytest.fixture(scope="module")
def done(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> HardenResult:
    """A finished run of six steps, with dropout and a merged model."""
    from demur.config import merge_values, parse_settings
    from demur.harden import HardenConfig

    config = parse_settings(HardenConfig, merge_values(values, {"lora": DROPOUT, "merged": True}))
    return harden(config, tmp_path_factory.mktemp("done") / "run")


def weights(result: HardenResult) -> dict[str, np.ndarray]:
    return load_file(result.adapter / "adapter_model.safetensors")


def assert_same(one: HardenResult, other: HardenResult) -> None:
    """Adapters bit for bit, and everything that was measured on the way."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values)
    assert other.validations == one.validations
    assert other.history == one.history


def test_the_loss_falls_and_the_states_turn_away(done: HardenResult) -> None:
    assert done.steps == 6
    assert not done.is_early
    assert [one.step for one in done.validations] == [3, 6]
    assert done.validations[1].highest_cosine < done.validations[0].highest_cosine < 1
    losses = [entry["breaker"] + entry["retain"] for entry in done.history]
    np.testing.assert_allclose(losses, [entry["loss"] for entry in done.history], rtol=1e-5)


def test_the_last_validation_has_the_kl_to_the_base(done: HardenResult) -> None:
    assert done.validations[0].kl is None
    assert done.validations[-1].kl is not None
    assert 0 < done.validations[-1].kl.mean < done.validations[-1].kl.p99


def test_what_was_done_is_written_down(done: HardenResult) -> None:
    written = json.loads((done.folder / "harden.json").read_text(encoding="utf-8"))
    assert written["config"]["batch_size"] == 4
    assert written["targets"] == [1, 2]
    assert written["rows"] == {"breakers": 6, "retain": [6, 6], "breakers_valid": 2, "retain_valid": 4} | {
        "left_out": {"held_out": 0, "unusable": 0}
    }


def test_the_adapter_loads_on_the_whole_base_and_reaches_the_lower_blocks_alone(
    done: HardenResult, model_folder: Path
) -> None:
    target = load_target(TargetConfig(model=str(model_folder), adapter=str(done.adapter), device="cpu"))
    assert target.depth == 3
    blocks = {name.split("layers.")[1][0] for name, _ in target.module.named_parameters() if ".lora_" in name}
    assert blocks == {"0", "1"}


def test_the_merged_model_answers_as_base_and_adapter_in_plain_transformers(
    done: HardenResult, model_folder: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert done.merged is not None
    merged = AutoModelForCausalLM.from_pretrained(done.merged)
    tokenizer = AutoTokenizer.from_pretrained(done.merged)
    adapted = load_target(TargetConfig(model=str(model_folder), adapter=str(done.adapter), device="cpu"))
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "how"}], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        found, wanted, base = merged(ids).logits, adapted.module(ids).logits, None
        with adapted.module.disable_adapter():
            base = adapted.module(ids).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert (base - wanted).abs().max() > 1e-2


def test_a_killed_run_ends_as_the_unbroken_one(done: HardenResult, make_config: Make, tmp_path: Path) -> None:
    def kill(step: int, _steps: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    config = make_config(lora=DROPOUT)
    with pytest.raises(KeyboardInterrupt):
        harden(config, tmp_path / "run", kill)
    assert not (tmp_path / "run" / "adapter").exists()
    seen: list[int] = []
    assert_same(done, harden(config, tmp_path / "run", lambda step, _: seen.append(step)))
    assert seen == [5, 6]


def test_a_finished_run_is_not_trained_again(done: HardenResult, make_config: Make) -> None:
    seen: list[int] = []
    assert_same(
        done, harden(make_config(lora=DROPOUT, merged=True), done.folder, lambda step, _: seen.append(step))
    )
    assert seen == []


def test_a_full_disk_is_one_sentence_and_the_run_goes_on(
    done: HardenResult, make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    save, times = safetensors.torch.save_file, []

    def fill(*given: Any, **named: Any) -> None:
        times.append(1)
        # Weights and optimiser of the first checkpoint, then the weights of the second.
        if len(times) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", fill)
        with pytest.raises(StorageError, match=r"no disk space left while hardening; free some space"):
            harden(make_config(lora=DROPOUT), tmp_path / "run")
    seen: list[int] = []
    assert_same(done, harden(make_config(lora=DROPOUT), tmp_path / "run", lambda step, _: seen.append(step)))
    assert seen[0] == 3


@pytest.fixture(scope="module")
def plain(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> HardenResult:
    """Three steps without dropout, in one process and one pass a step."""
    from demur.config import merge_values, parse_settings
    from demur.harden import HardenConfig

    config = parse_settings(HardenConfig, merge_values(values, {"steps": 3}))
    return harden(config, tmp_path_factory.mktemp("plain") / "run")


def assert_close(one: HardenResult, history: list[dict[str, Any]], adapter: Path) -> None:
    for ours, theirs in zip(one.history, history, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
        assert theirs["breaker"] == pytest.approx(ours["breaker"], rel=1e-4)
        assert theirs["retain"] == pytest.approx(ours["retain"], rel=1e-3, abs=1e-6)
    found = load_file(adapter / "adapter_model.safetensors")
    for name, values in weights(one).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=2e-5, err_msg=name)


def test_the_schedule_counts_steps_and_not_passes(plain: HardenResult, make_config: Make, tmp_path: Path) -> None:
    split = harden(make_config(steps=3, accumulate=4), tmp_path / "run")
    assert split.steps == 3
    assert_close(plain, list(split.history), split.adapter)


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(plain: HardenResult, values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "harden.yaml").write_text(yaml.safe_dump(values | {"steps": 3}), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = [*launch, "demur", "harden", "harden.yaml", "--out", "run", "--json"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    written = json.loads(found.stdout)
    assert_close(plain, written["history"], tmp_path / "run" / "adapter")


def test_training_stops_when_it_is_enough(make_config: Make, tmp_path: Path) -> None:
    rule = {"enabled": True, "cosine": 1.0, "retain": 1e6, "flat": 1e6, "patience": 1}
    config = make_config(steps=40, evaluate_every=2, stop=rule)
    found = harden(config, tmp_path / "run")
    assert (found.steps, found.is_early) == (4, True)
    again = harden(config, tmp_path / "run", lambda *_: pytest.fail("trained again"))
    assert_same(found, again)


@pytest.mark.parametrize("objective", ["random_vector", "probe"])
def test_other_objectives_train_too(make_config: Make, tmp_path: Path, objective: str) -> None:
    found = harden(make_config(objective=objective, steps=4), tmp_path / "run")
    parts = [entry["breaker"] / (1 - entry["step"] / 8) for entry in found.history]
    assert parts[-1] < parts[0]


def test_the_faithful_setting_trains_one_block_more(make_config: Make, tmp_path: Path) -> None:
    found = harden(make_config(retain_loss="faithful", mask="all_text", steps=2), tmp_path / "run")
    assert found.trained_blocks == 3


def test_a_target_with_an_adapter_is_hardened_on_a_merged_base(
    done: HardenResult, make_config: Make, tmp_path: Path
) -> None:
    config = make_config(target={"adapter": str(done.adapter)}, steps=1)
    found = harden(config, tmp_path / "run")
    assert Path(found.base) == tmp_path / "run" / "base"
    load_target(TargetConfig(model=found.base, adapter=str(found.adapter), device="cpu"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": (2, 9)}, r"layer 9 is asked for, but the model has 3 blocks"),
        ({"layers": (0, 2)}, r"layer 0 is the embedding"),
        ({"layers": (3,), "retain_loss": "faithful"}, r"faithful also holds the block above .* and 3 is the last"),
    ],
)
def test_a_layer_that_cannot_be_rerouted_is_refused(make_config: Make, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve_targets(make_config(**changes), 3)


def test_shares_of_the_depth_are_the_papers_layers(make_config: Make) -> None:
    assert resolve_targets(make_config(layers=(0.31, 0.62)), 32) == (10, 20)
    assert resolve_targets(make_config(layers=(0.31, 0.62)), 36) == (11, 22)


def test_a_base_without_a_chat_template_is_refused(make_config: Make, model_folder: Path, tmp_path: Path) -> None:
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(model_folder, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="no chat template"):
        harden(make_config(target={"model": str(bare)}), tmp_path / "run")


def test_answers_beyond_the_token_limit_are_refused(make_config: Make, tmp_path: Path) -> None:
    with pytest.raises(EmptyDataError, match=r"begins within the first 8 tokens; raise data\.max_tokens"):
        harden(make_config(data={"max_tokens": 8}), tmp_path / "run")


def test_other_settings_leave_the_checkpoints_of_an_earlier_run_alone(make_config: Make, tmp_path: Path) -> None:
    first = harden(make_config(steps=2), tmp_path / "run")
    harden(make_config(steps=2, learning_rate=1e-3), tmp_path / "run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2
    again = harden(make_config(steps=2), tmp_path / "run", lambda *_: pytest.fail("trained again"))
    assert_same(first, again)
    assert again.adapter == first.adapter


def test_the_merged_base_of_a_target_is_written_once(
    done: HardenResult, make_config: Make, tmp_path: Path
) -> None:
    config = make_config(target={"adapter": str(done.adapter)}, steps=1)
    harden(config, tmp_path / "run")
    stamp = (tmp_path / "run" / "base" / "model.safetensors").stat().st_mtime_ns
    harden(config, tmp_path / "run", lambda *_: pytest.fail("trained again"))
    assert (tmp_path / "run" / "base" / "model.safetensors").stat().st_mtime_ns == stamp


def test_what_stays_unturned_is_said_at_the_end(plain: HardenResult) -> None:
    assert any("has not turned the held-out states" in one for one in plain.notes)
    assert set(plain.validations[-1].retain_kinds) == {"chat", "refusal"}
    assert plain.validations[-1].kl is not None
    assert set(plain.validations[-1].kl.kinds) == {"chat", "refusal"}


@pytest.mark.parametrize("half", [{"target": {"dtype": "bf16"}}, {"precision": "bf16"}], ids=["weights", "steps"])
def test_a_training_in_bf16_begins_with_a_nudge_that_shows(
    make_config: Make, tmp_path: Path, half: dict[str, Any]
) -> None:
    """A nudge of the size of this rate would be rounded away (a cosine of 1); nor is it made too large."""
    config = make_config(**half, steps=1, evaluate_every=1, learning_rate=1e-7)
    found = harden(config, tmp_path / "run")
    # Rounding alone gives about 2e-6.
    assert min(found.validations[0].turned.values()) > 2e-5
    assert max(found.validations[0].turned.values()) < 0.05


def test_fp16_is_refused_before_anything_is_read(make_config: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be trained in fp16"):
        harden(make_config(target={"dtype": "fp16", "model": "nowhere/at-all"}), tmp_path / "run")
