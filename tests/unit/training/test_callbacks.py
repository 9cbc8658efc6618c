"""When a training validates, what it tells, and what adaptive weights take along."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demur.tasks import JAILBREAK, PROMPT_RISK
from demur.training import BalanceConfig, Progress, WeightController, WeightedCrossEntropy, _callbacks
from demur.training._callbacks import AdaptWeights, GiveBackHeap, PlanValidations, ReportProgress, StopEarly

MISSED = (np.array([0, 0, 1, 1, 2, 2]), np.eye(3)[[0, 0, 1, 1, 0, 0]])


def make_state(**values: Any) -> Any:
    return SimpleNamespace(**{"global_step": 0, "max_steps": 20, "epoch": 0.5, "log_history": []} | values)


def planned_steps(times: int, steps: int, epochs: int = 2) -> list[int]:
    plan = PlanValidations(times, validates=True, saves=False)
    found = []
    for step in range(1, steps * epochs + 1):
        control = SimpleNamespace(should_log=False, should_evaluate=False, should_save=True)
        state = make_state(global_step=step, max_steps=steps * epochs)
        plan.on_step_end(SimpleNamespace(num_train_epochs=epochs), state, control)
        if control.should_evaluate:
            assert control.should_log
            assert not control.should_save
            found.append(step)
    return found


@pytest.mark.parametrize(
    ("times", "steps", "wanted"),
    [
        (1, 5, [5, 10]),
        (2, 5, [2, 5, 7, 10]),
        (3, 10, [3, 7, 10, 13, 17, 20]),
        (9, 2, [1, 2, 3, 4]),
        (1, 1, [1, 2]),
    ],
)
def test_validations_are_even_and_close_every_epoch(times: int, steps: int, wanted: list[int]) -> None:
    assert planned_steps(times, steps) == wanted


def test_patience_that_is_spent_stops_the_training() -> None:
    control = SimpleNamespace(should_training_stop=False)
    log = [{"eval_score": 0.5}, {"eval_score": 0.4}]
    StopEarly(2).on_evaluate(None, make_state(log_history=log), control)
    assert not control.should_training_stop
    StopEarly(1).on_evaluate(None, make_state(log_history=log), control)
    assert control.should_training_stop


def test_progress_carries_the_last_score() -> None:
    seen: list[Progress] = []
    report = ReportProgress(seen.append)
    report.on_step_end(None, make_state(global_step=1), None)
    report.on_evaluate(None, make_state(global_step=2, log_history=[{"eval_score": 0.5}]), None)
    assert seen == [Progress(1, 20, 0.5, None), Progress(2, 20, 0.5, 0.5)]


def make_adapting() -> tuple[AdaptWeights, WeightedCrossEntropy]:
    loss = WeightedCrossEntropy(np.array([0.5, 1, 5]))
    return AdaptWeights({"": WeightController(PROMPT_RISK, BalanceConfig(patience=1))}, {"": loss}), loss


def test_a_loss_has_its_own_weights_times_its_controllers_alpha() -> None:
    adapting, loss = make_adapting()
    assert loss.weights.tolist() == [0.5, 1, 5]
    assert adapting.observe(*MISSED, step=4) == [1, 1, 1]
    assert loss.weights.tolist() == pytest.approx([0.5, 1, 5.5])
    assert adapting.trajectory()["final_alpha"]["malicious"] == pytest.approx(1.1)


def test_rows_without_label_are_not_observed() -> None:
    adapting, loss = make_adapting()
    adapting.observe(np.full(6, -100), MISSED[1], step=4)
    assert loss.weights.tolist() == [0.5, 1, 5]


def test_a_checkpoint_brings_the_weights_back() -> None:
    first, _ = make_adapting()
    first.observe(*MISSED, step=4)
    second, loss = make_adapting()
    saved = json.loads(json.dumps({"AdaptWeights": first.state()}))
    second.on_train_begin(None, make_state(stateful_callbacks=saved), None)
    assert loss.weights.tolist() == pytest.approx([0.5, 1, 5.5])
    assert second.trajectory() == first.trajectory()


def test_each_head_has_its_own_weights() -> None:
    losses = {"a": WeightedCrossEntropy(np.ones(3)), "b": WeightedCrossEntropy(np.ones(2))}
    eager = BalanceConfig(patience=1)
    adapting = AdaptWeights(
        {"a": WeightController(PROMPT_RISK, eager), "b": WeightController(JAILBREAK, eager)}, losses
    )
    targets = np.stack([MISSED[0], np.full(6, -100)], axis=1)
    before = adapting.observe(targets, {"a": MISSED[1], "b": np.eye(2)[[0] * 6]}, step=1)
    assert before == {"a": [1, 1, 1], "b": [1, 1]}
    assert losses["a"].weights.tolist() == pytest.approx([1, 1, 1.1])
    assert losses["b"].weights.tolist() == [1, 1]
    assert set(adapting.trajectory()) == {"a", "b"}


def test_memory_is_given_back_by_the_step_of_the_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    monkeypatch.setattr(_callbacks, "give_back_heap", steps.append)
    for step in (1, 2):
        GiveBackHeap().on_step_end(None, make_state(global_step=step), None)
    assert steps == [1, 2]
