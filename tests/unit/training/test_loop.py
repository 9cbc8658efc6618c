"""How the trainer is set up, seen from its arguments and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.training import TokenDataset, TrainConfig, TrainSetup, WeightedCrossEntropy


def arguments(setup: TrainSetup, folder: Path, validated: bool, **changes: Any) -> Any:
    from demur.training import _loop

    plan = _loop.LoopPlan(TrainConfig(**changes), 7, setup, WeightedCrossEntropy(np.ones(3)), "x")
    return _loop._arguments(plan, folder, validated)


@pytest.mark.parametrize(
    ("validated", "kept", "wanted"), [(0, 0, "no"), (0, 1, "steps"), (1, 0, "best"), (1, 1, "steps")]
)
def test_checkpoints_are_written_where_someone_reads_them(
    make_setup: Callable[..., TrainSetup], tmp_path: Path, validated: int, kept: int, wanted: str
) -> None:
    found = arguments(make_setup(folder=tmp_path if kept else None), tmp_path, bool(validated))
    assert found.save_strategy.value == wanted
    assert found.save_only_model is not bool(kept)


def test_nothing_is_reported_elsewhere(make_setup: Callable[..., TrainSetup], tmp_path: Path) -> None:
    found = arguments(make_setup(), tmp_path, True)
    assert found.report_to == []
    assert found.disable_tqdm


def test_settings_reach_the_trainer(make_setup: Callable[..., TrainSetup], tmp_path: Path) -> None:
    found = arguments(
        make_setup(),
        tmp_path,
        True,
        epochs=9,
        batch_size=5,
        learning_rate=0.5,
        weight_decay=0.25,
        warmup_share=0.5,
    )
    assert (found.num_train_epochs, found.per_device_train_batch_size) == (9, 5)
    assert (found.learning_rate, found.weight_decay, found.warmup_steps) == (0.5, 0.25, 0.5)
    assert (found.seed, found.data_seed) == (7, 7)


def test_fp32_is_the_default_on_a_cpu(make_setup: Callable[..., TrainSetup], tmp_path: Path) -> None:
    assert arguments(make_setup(), tmp_path, True, device="cpu").bf16 is False
    assert arguments(make_setup(), tmp_path, True, device="cpu", precision="bf16").bf16 is True


def test_the_learning_rate_rises_then_falls(
    dataset: TokenDataset, make_module: Callable[[], Any], make_setup: Callable[..., TrainSetup], tmp_path: Path
) -> None:
    from demur.training import _loop

    config = TrainConfig(epochs=4, batch_size=8, learning_rate=1.0, warmup_share=0.5)
    plan = _loop.LoopPlan(config, 0, make_setup(), WeightedCrossEntropy(np.ones(3)), "x")
    state = _loop.run_loop(make_module(), dataset, None, plan, tmp_path).state
    rates = [entry["learning_rate"] for entry in state.log_history if "learning_rate" in entry]
    assert rates[0] < rates[1] > rates[2] > rates[3]


@pytest.mark.parametrize(("scheduler", "last"), [("constant", 1.0), ("cosine", 0.0), ("linear", 0.0)])
def test_the_scheduler_decides_where_the_rate_ends(
    dataset: TokenDataset,
    make_module: Callable[[], Any],
    make_setup: Callable[..., TrainSetup],
    tmp_path: Path,
    scheduler: Any,
    last: float,
) -> None:
    from demur.training import _loop

    config = TrainConfig(epochs=2, batch_size=2, learning_rate=1.0, scheduler=scheduler)
    plan = _loop.LoopPlan(config, 0, make_setup(), WeightedCrossEntropy(np.ones(3)), "x")
    state = _loop.run_loop(make_module(), dataset, None, plan, tmp_path).state
    assert state.log_history[-2]["learning_rate"] == pytest.approx(last, abs=0.05)


def test_rates_make_groups_of_parameters(
    dataset: TokenDataset, make_module: Callable[[], Any], make_setup: Callable[..., TrainSetup], tmp_path: Path
) -> None:
    from demur.training import _loop

    setup = make_setup(rates={"embedding.weight": 0.1, "out.bias": 0.5})
    plan = _loop.LoopPlan(TrainConfig(learning_rate=0.5), 0, setup, WeightedCrossEntropy(np.ones(3)), "x")
    arguments = _loop._arguments(plan, tmp_path, False)
    trainer = _loop.ExactTrainer(plan, dataset, None, arguments, make_module())
    groups = {
        (group["lr"], group["weight_decay"]): [tuple(one.shape) for one in group["params"]]
        for group in trainer.create_optimizer().param_groups
    }
    assert groups == {(0.5, 0.01): [(3, 8)], (0.25, 0.0): [(3,)], (0.05, 0.01): [(20, 8)]}


@pytest.mark.parametrize(("precision", "wanted"), [("auto", "fp32"), ("fp32", "fp32"), ("bf16", "bf16")])
def test_precision_on_a_cpu(precision: Any, wanted: str) -> None:
    from demur.training import _loop

    assert _loop.pick_precision(TrainConfig(precision=precision, device="cpu")) == wanted
