"""The trainer's arguments and the callbacks that follow the plan; the loop itself is tested with ``harden``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from demur.errors import TrainingError
from demur.harden import Validation
from demur.harden._loop import (
    BreakerTrainer,
    FollowPlan,
    LoopPlan,
    _find_checkpoint,
    make_arguments,
    read_validations,
)

Make = Callable[..., Any]


def follow(config: Any, step: int, history: list[Validation] = []) -> SimpleNamespace:  # noqa: B006
    """What the callback decides after a step and a validation."""
    control = SimpleNamespace(should_evaluate=False, should_save=True, should_training_stop=False)
    log = [{"eval_breaker": one.to_json()} for one in history]
    state = SimpleNamespace(global_step=step, max_steps=config.steps, log_history=log)
    callback = FollowPlan(LoopPlan(config, "", lambda step: None))  # type: ignore[arg-type, return-value]
    callback.on_step_end(None, state, control)
    if history:
        callback.on_evaluate(None, state, control)
    return control


def test_a_step_is_shared_by_its_passes(make_config: Make, tmp_path: Path) -> None:
    arguments = make_arguments(make_config(batch_size=8, accumulate=4), tmp_path)
    assert arguments.per_device_train_batch_size == 2
    assert arguments.gradient_accumulation_steps == 4
    assert arguments.lr_scheduler_type == "constant"
    assert arguments.weight_decay == 0


def test_processes_that_cannot_share_a_step_are_refused(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainingArguments

    monkeypatch.setattr(TrainingArguments, "world_size", property(lambda _: 3))
    with pytest.raises(TrainingError, match=r"batch_size 4 cannot be shared by 3 processes .* a multiple of 3"):
        make_arguments(make_config(), tmp_path)


@pytest.mark.parametrize(
    ("step", "evaluates", "saves"), [(1, False, False), (2, False, True), (3, True, False), (6, True, True)]
)
def test_validations_and_checkpoints_come_as_planned(
    make_config: Make, step: int, evaluates: bool, saves: bool
) -> None:
    control = follow(make_config(steps=6, evaluate_every=3, checkpoint_every=2), step)
    assert (control.should_evaluate, control.should_save) == (evaluates, saves)


def test_an_early_end_is_saved(make_config: Make) -> None:
    config = make_config(steps=9, evaluate_every=3, checkpoint_every=9, stop={"enabled": True, "patience": 1})
    history = [Validation(step, {1: 0.0}, {1: 1.0}, {1: 0.1}) for step in (3, 6)]
    assert follow(config, 3, history[:1]).should_training_stop is False
    control = follow(config, 6, history)
    assert (control.should_training_stop, control.should_save) == (True, True)


def test_validations_are_read_from_the_log() -> None:
    one = Validation(3, {1: 0.5}, {1: 1.0}, {1: 0.1})
    log = [{"loss": 1.0, "step": 3}, {"eval_breaker": one.to_json(), "step": 3}]
    assert read_validations(SimpleNamespace(log_history=log)) == [one]  # type: ignore[arg-type]


def trainer_of(others: int) -> SimpleNamespace:
    """What the check of the loss looks at, with one more process; ``others`` of them have no number."""
    accelerator = SimpleNamespace(num_processes=2, reduce=lambda flag, reduction: flag + others)
    return SimpleNamespace(accelerator=accelerator, state=SimpleNamespace(global_step=4))


@pytest.mark.parametrize(("loss", "others"), [(float("nan"), 0), (float("inf"), 0), (1.0, 1)])
def test_a_loss_that_is_no_number_anywhere_ends_the_run_everywhere(loss: float, others: int) -> None:
    """Else the processes that have one would wait for the others until they are killed."""
    with pytest.raises(TrainingError, match=r"NaN or infinite at step 5; lower learning_rate"):
        BreakerTrainer._check_finite(trainer_of(others), torch.tensor(loss))  # type: ignore[arg-type]


def test_a_loss_that_is_one_everywhere_passes() -> None:
    BreakerTrainer._check_finite(trainer_of(0), torch.tensor(1.0))  # type: ignore[arg-type]


def test_other_processes_are_told_the_checkpoint_and_clear_nothing_away(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from demur.harden import _loop as loop

    monkeypatch.setattr(loop, "prepare_folder", lambda *_: pytest.fail("looked itself"))
    monkeypatch.setattr(loop, "broadcast_object_list", lambda _: [tmp_path / "checkpoint-3"])
    arguments = SimpleNamespace(process_index=1, world_size=2)
    plan = LoopPlan(make_config(), "abc", lambda step: None)  # type: ignore[arg-type, return-value]
    assert _find_checkpoint(tmp_path, arguments, plan) == tmp_path / "checkpoint-3"  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "is_new"), [(0, True), (2, False)])
def test_a_split_module_is_settled_once_the_engine_has_it(
    make_config: Make, split_breaker: Any, step: int, is_new: bool
) -> None:
    told: list[bool] = []
    plan = LoopPlan(make_config(), "", lambda step: None, settle=told.append)  # type: ignore[arg-type, return-value]
    FollowPlan(plan).on_train_begin(None, SimpleNamespace(global_step=step), None, model=split_breaker)
    assert told == [is_new]
    assert split_breaker.inside(lambda: 3) == 3


def test_a_whole_module_is_not_settled_a_second_time(make_config: Make, breaker: Any) -> None:
    plan = LoopPlan(make_config(), "", lambda step: None, settle=lambda _: pytest.fail("settled"))  # type: ignore[arg-type, return-value]
    FollowPlan(plan).on_train_begin(None, SimpleNamespace(global_step=0), None, model=breaker)


def test_what_is_measured_before_a_step_draws_nothing_from_the_training(make_config: Make) -> None:
    drawn: list[float] = []
    plan = LoopPlan(
        make_config(),
        "",
        lambda step: None,  # type: ignore[arg-type, return-value]
        settle=lambda _: drawn.append(float(torch.rand(()))),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        wanted = float(torch.rand(()))
        torch.manual_seed(7)
        plan.settle_module(True)
        assert float(torch.rand(())) == wanted
        plan.settle_module(True)
    assert drawn[0] == drawn[1]


def test_a_checkpoint_of_an_earlier_demur_cannot_be_split(tmp_path: Path) -> None:
    trainer = SimpleNamespace(is_fsdp_enabled=True)
    with pytest.raises(TrainingError, match=r"checkpoint-3 was written by an earlier demur .* delete its folder"):
        BreakerTrainer._load_optimizer_and_scheduler(trainer, str(tmp_path / "checkpoint-3"))  # type: ignore[arg-type]
