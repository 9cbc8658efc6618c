"""The trainer's arguments and the callbacks that follow the plan; the loop itself is tested with ``harden``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from demur.errors import TrainingError
from demur.harden import Validation
from demur.harden._loop import FollowPlan, LoopPlan, make_arguments, read_validations

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
