"""Engines and types that cannot train a breaker are refused with what can be done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from demur.errors import ConfigError, TrainingError
from demur.harden._engine import check_engine, check_types

FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
PARALLEL = {"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        # Nothing said is the first version.
        ({"ACCELERATE_USE_FSDP": "true"}, r"FSDP in its first version hides .* FSDP2 \(fsdp_version: 2 in accel"),
        ({"ACCELERATE_USE_FSDP": "1", "FSDP_VERSION": "1"}, r"FSDP in its first version hides .* multi-GPU"),
        (
            {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
            r"ZeRO-3 keeps every weight .* set zero_stage to 1 or 2 .* FSDP2 \(fsdp_version: 2 in accelerate c",
        ),
        (
            {**FSDP2, "FSDP_ACTIVATION_CHECKPOINTING": "true"},
            r"fsdp_activation_checkpointing wraps the blocks .* false .* gradient_checkpointing: on for the run",
        ),
        ({**FSDP2, "FSDP_OFFLOAD_PARAMS": "true"}, r"fsdp_offload_params keeps weights on the CPU, .* false in"),
        ({**PARALLEL, "PARALLELISM_CONFIG_TP_SIZE": "2"}, r"shares a row between processes \(tp_size\), .* to 1"),
        ({**PARALLEL, "PARALLELISM_CONFIG_CP_SIZE": "4"}, r"shares a row between processes \(cp_size\)"),
    ],
)
def test_engines_that_cannot_train_a_breaker_are_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        check_engine(environ)


@pytest.mark.parametrize("stage", [2, 3])
def test_the_stage_of_deepspeeds_own_file_counts(tmp_path: Path, stage: int) -> None:
    (tmp_path / "ds.json").write_text(json.dumps({"zero_optimization": {"stage": stage}}), encoding="utf-8")
    environ = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(tmp_path / "ds.json")}
    if stage == 2:
        check_engine(environ)
        return
    with pytest.raises(TrainingError, match="ZeRO-3 keeps every weight"):
        check_engine(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"ACCELERATE_USE_FSDP": "false"},
        FSDP2,
        {**FSDP2, "FSDP_CPU_RAM_EFFICIENT_LOADING": "true", "FSDP_OFFLOAD_PARAMS": "false"},
        {**PARALLEL, **FSDP2, "PARALLELISM_CONFIG_DP_SHARD_SIZE": "8", "PARALLELISM_CONFIG_TP_SIZE": "1"},
        {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"},
    ],
)
def test_engines_that_can_pass(environ: dict[str, str]) -> None:
    check_engine(environ)


def test_fp16_is_refused_with_what_to_take(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"cannot be trained in fp16: .* set target\.dtype: bf16"):
        check_types(make_config(target={"dtype": "fp16"}))
    check_types(make_config())
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ConfigError, match="cannot be trained in fp16"):
        check_types(make_config())


def test_bf16_on_a_gpu_without_it_is_refused(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    config = make_config(precision="bf16", target={"device": "auto"})
    with pytest.raises(ConfigError, match=r"this GPU has no bf16; set precision: fp32"):
        check_types(config)
    check_types(make_config(precision="bf16"))
    check_types(make_config(precision="auto", target={"device": "auto"}))
