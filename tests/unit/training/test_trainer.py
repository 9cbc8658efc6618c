"""The loop learns, stops, keeps the best epoch, resumes exactly, and says why it failed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.errors import StorageError, TrainingError
from demur.tasks import JAILBREAK, REFUSAL
from demur.training import (
    PadCollator,
    Progress,
    TokenDataset,
    TokenRows,
    TrainConfig,
    TrainSetup,
    multi_task_score,
    train_classifier,
)

Setup = Callable[..., TrainSetup]
Module = Callable[[], Any]
CONFIG = TrainConfig(epochs=4, batch_size=8, learning_rate=0.05, class_weights="none", patience=9)


class Killed(BaseException):
    """Stands for the end of the process."""


def weights(module: Any) -> np.ndarray:
    return np.concatenate([part.detach().numpy().ravel() for part in module.parameters()])


def kill_in_epoch(number: float) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.epoch > number:
            raise Killed

    return report


def test_training_learns(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    config = CONFIG.model_copy(update={"epochs": 15})
    result = train_classifier(make_module(), dataset, dataset, config, 0, make_setup())
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2
    assert max(row["score"] for row in result.history) > 0.9


def test_same_seed_same_weights_other_seed_others(
    dataset: TokenDataset, make_module: Module, make_setup: Setup
) -> None:
    found = []
    for seed in (1, 1, 2):
        module = make_module()
        train_classifier(module, dataset, dataset, CONFIG, seed, make_setup())
        found.append(weights(module))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_training_leaves_the_callers_random_numbers_alone(
    dataset: TokenDataset, make_module: Module, make_setup: Setup
) -> None:
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup())
    assert np.random.random() == expected


@pytest.mark.parametrize("validated", [True, False])
def test_a_killed_training_resumes_to_the_same_weights(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path, validated: bool
) -> None:
    valid = dataset if validated else None
    whole = make_module()
    expected = train_classifier(whole, dataset, valid, CONFIG, 3, make_setup())
    with pytest.raises(Killed):
        train_classifier(
            make_module(), dataset, valid, CONFIG, 3, make_setup(folder=tmp_path, progress=kill_in_epoch(2.3))
        )
    steps: list[int] = []
    resumed = make_module()
    setup = make_setup(folder=tmp_path, progress=lambda progress: steps.append(progress.step))
    result = train_classifier(resumed, dataset, valid, CONFIG, 3, setup)
    assert min(steps) == 11
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    assert result.history == expected.history


def test_a_finished_training_is_not_run_again(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path
) -> None:
    first, second = make_module(), make_module()
    train_classifier(first, dataset, dataset, CONFIG, 0, make_setup(folder=tmp_path))
    steps: list[int] = []
    setup = make_setup(folder=tmp_path, progress=lambda progress: steps.append(progress.step))
    train_classifier(second, dataset, dataset, CONFIG, 0, setup)
    assert steps == []
    np.testing.assert_array_equal(weights(first), weights(second))


def test_checkpoints_of_another_training_are_not_used(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path
) -> None:
    train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup(folder=tmp_path))
    steps: list[int] = []
    setup = make_setup(folder=tmp_path, progress=lambda progress: steps.append(progress.step))
    train_classifier(make_module(), dataset, None, CONFIG, 1, setup)
    assert min(steps) == 1


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What killed_training.py found."""
    script, folder = Path(__file__).with_name("killed_training.py"), tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_kills_at_any_point_end_in_the_unbroken_runs_weights(killed: dict[str, Any]) -> None:
    assert killed["ends"] == [0, *6 * [-signal.SIGKILL], 0]
    assert killed["broken"]["weights"] == killed["whole"]["weights"]


def test_kills_leave_no_trace_in_history_or_adaptive_weights(killed: dict[str, Any]) -> None:
    assert killed["whole"]["trajectory"]["changes"]
    assert killed["broken"] == killed["whole"]
    assert [row["epoch"] for row in killed["whole"]["history"]][1::2] == [1, 2, 3]


def test_the_best_epochs_weights_are_kept(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    scores = iter([0.1, 0.9, 0.2, 0.3])
    seen: list[np.ndarray] = []
    module = make_module()

    def score(targets: Any, probabilities: Any) -> float:
        seen.append(weights(module).copy())
        return next(scores)

    result = train_classifier(module, dataset, dataset, CONFIG, 0, make_setup(score=score))
    assert result.best_epoch == 2
    np.testing.assert_array_equal(weights(module), seen[1])


def test_training_stops_when_patience_is_spent(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"epochs": 20, "patience": 2})
    scores = iter([0.5, 0.4, 0.4, 0.9])
    setup = make_setup(score=lambda *_: next(scores), folder=tmp_path)
    assert train_classifier(make_module(), dataset, dataset, config, 0, setup).epochs == 3
    assert train_classifier(make_module(), dataset, dataset, config, 0, setup).epochs == 3


def test_without_validation_all_epochs_run(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    result = train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup())
    assert (result.epochs, result.best_epoch, len(result.history)) == (4, None, 4)


def test_a_loss_that_is_no_number_is_named(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    module = make_module()
    module.out.bias.data[:] = float("nan")
    with pytest.raises(TrainingError, match=r"the loss became nan at step 1; lower train\.learning_rate"):
        train_classifier(module, dataset, None, CONFIG, 0, make_setup())


def test_weights_that_overflow_are_named(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    class Spoiled(type(make_module())):  # type: ignore[misc]
        pass

    module = make_module()

    def spoil(progress: Progress) -> None:
        if progress.step == progress.steps:
            module.embedding.weight.data[1] = float("inf")

    with pytest.raises(TrainingError, match=r"not finite \(first in 'embedding.weight'\)"):
        train_classifier(module, dataset, None, CONFIG, 0, make_setup(progress=spoil))


def test_a_folder_that_cannot_be_made_is_a_storage_error(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="no disk space left while training"):
        train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup(folder=tmp_path / "new"))


def test_progress_says_where_the_training_stands(
    dataset: TokenDataset, make_module: Module, make_setup: Setup
) -> None:
    seen: list[Progress] = []
    train_classifier(make_module(), dataset, dataset, CONFIG, 0, make_setup(progress=seen.append))
    assert (seen[-1].step, seen[-1].steps, seen[-1].epoch) == (20, 20, 4.0)
    assert seen[0].score is None
    assert seen[-1].score is not None


def test_training_prints_nothing(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, capfd: pytest.CaptureFixture[str]
) -> None:
    train_classifier(make_module(), dataset, dataset, CONFIG, 0, make_setup())
    assert capfd.readouterr() == ("", "")


def test_bf16_trains_too(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    config = CONFIG.model_copy(update={"precision": "bf16"})
    result = train_classifier(make_module(), dataset, None, config, 0, make_setup())
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_the_checkpoint_folder_names_its_training(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path
) -> None:
    train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup(folder=tmp_path))
    assert set(json.loads((tmp_path / "training.json").read_text())) == {"fingerprint"}


def test_a_training_resumes_after_its_folder_was_moved(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path
) -> None:
    scores = [0.9, 0.2, 0.3, 0.4]
    left = iter(scores)
    whole, resumed = make_module(), make_module()
    train_classifier(whole, dataset, dataset, CONFIG, 0, make_setup(score=lambda *_: next(left)))
    left = iter(scores)
    setup = make_setup(score=lambda *_: next(left), folder=tmp_path / "a", progress=kill_in_epoch(2.3))
    with pytest.raises(Killed):
        train_classifier(make_module(), dataset, dataset, CONFIG, 0, setup)
    shutil.move(tmp_path / "a", tmp_path / "b")
    setup = make_setup(score=lambda *_: next(left), folder=tmp_path / "b")
    assert train_classifier(resumed, dataset, dataset, CONFIG, 0, setup).best_epoch == 1
    np.testing.assert_array_equal(weights(resumed), weights(whole))


def test_a_changed_module_starts_over(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path
) -> None:
    train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup(folder=tmp_path))
    steps: list[int] = []
    changed = make_module()
    changed.out.weight.data += 0.5
    setup = make_setup(folder=tmp_path, progress=lambda progress: steps.append(progress.step))
    train_classifier(changed, dataset, None, CONFIG, 0, setup)
    assert min(steps) == 1


def test_validations_are_spread_over_an_epoch(
    dataset: TokenDataset, make_module: Module, make_setup: Setup
) -> None:
    config = CONFIG.model_copy(update={"epochs": 2, "evals_per_epoch": 3})
    history = train_classifier(make_module(), dataset, dataset, config, 0, make_setup()).history
    assert [row["step"] for row in history] == [2, 3, 5, 7, 8, 10]
    assert all({"loss", "valid_loss", "score", "choice", "learning_rate"} <= row.keys() for row in history)
    assert json.loads(json.dumps(history)) == history


def test_early_stopping_may_come_within_an_epoch(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"evals_per_epoch": 5, "patience": 2})
    scores = iter([0.5, 0.4, 0.3, 0.2])
    first, second = make_module(), make_module()
    setup = make_setup(score=lambda *_: next(scores), folder=tmp_path)
    assert train_classifier(first, dataset, dataset, config, 0, setup).steps == 3
    again = train_classifier(second, dataset, dataset, config, 0, setup)
    assert (again.steps, again.best_epoch) == (3, 0.2)
    np.testing.assert_array_equal(weights(first), weights(second))


def test_accumulated_batches_are_the_step_of_one_large_batch(dataset: TokenDataset, make_module: Module) -> None:
    found = []
    for size, parts in ((40, 1), (20, 2)):
        module = make_module()
        module.dropout.p = 0.0
        config = CONFIG.model_copy(update={"batch_size": size, "accumulate": parts})
        setup = TrainSetup(3, PadCollator(0, ["input_ids"], width=10))
        assert train_classifier(module, dataset, None, config, 0, setup).steps == 4
        found.append(weights(module))
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_padding_to_the_limit_is_seen_by_the_module(dataset: TokenDataset, make_module: Module) -> None:
    seen: set[int] = set()
    module = make_module()
    module.register_forward_pre_hook(
        lambda _, args, named: seen.add(int(named["input_ids"].shape[1])), with_kwargs=True
    )
    config = CONFIG.model_copy(update={"padding": "max_length", "epochs": 1})
    train_classifier(module, dataset, None, config, 0, TrainSetup(3, PadCollator(0, ["input_ids"]), max_tokens=33))
    assert max(seen) == 33
    # The few tokens of the row that memory was measured with.
    assert sorted(seen)[:-1] == [8, 9]


def test_adaptive_weights_end_in_a_trajectory(
    dataset: TokenDataset, make_module: Module, make_setup: Setup
) -> None:
    config = CONFIG.model_copy(update={"class_weights": "adaptive", "learning_rate": 1e-6})
    result = train_classifier(make_module(), dataset, dataset, config, 0, make_setup(task=REFUSAL))
    assert result.alpha_trajectory is not None
    assert result.alpha_trajectory["evaluations"] == 4
    changes = result.alpha_trajectory["changes"]
    assert {change["step"] for change in changes} == {10, 20}
    assert result.history[1]["weights"] == result.history[0]["weights"] != result.history[2]["weights"]


def test_other_weights_leave_no_trajectory(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    assert train_classifier(make_module(), dataset, dataset, CONFIG, 0, make_setup()).alpha_trajectory is None


@pytest.mark.parametrize("as_mapping", [True, False])
def test_several_heads_learn_from_rows_that_lack_labels(
    dataset: TokenDataset, make_module: Module, as_mapping: bool
) -> None:
    import torch

    class TwoHeads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = make_module()
            self.second = torch.nn.Linear(3, 2)

        def forward(self, input_ids: torch.Tensor) -> dict[str, Any]:
            first = self.body(input_ids)["logits"]
            second = self.second(first)
            both: Any = {"jailbreak": second, "refusal": first}
            return {"logits": both if as_mapping else torch.cat([first, second], dim=1)}

    targets = np.stack([dataset.targets, dataset.targets % 2], axis=1)
    targets[::2, 0], targets[1::3, 1] = -100, -100
    rows = TokenDataset(dataset.rows, targets)
    heads = {"refusal": REFUSAL, "jailbreak": JAILBREAK}
    config = CONFIG.model_copy(update={"class_weights": "adaptive", "epochs": 30})
    setup = TrainSetup(0, PadCollator(0, ["input_ids"]), multi_task_score(heads), heads=heads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = TwoHeads()
    result = train_classifier(module, rows, rows, config, 0, setup)
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2
    assert result.history[-1]["score"] > result.history[0]["score"] + 0.2
    assert result.alpha_trajectory is not None
    assert set(result.alpha_trajectory) == set(heads)


def test_a_student_learns_from_its_teacher_alone(
    dataset: TokenDataset, make_module: Module, make_setup: Setup
) -> None:
    unlabelled = TokenDataset(dataset.rows, np.full(40, -100), np.eye(3)[dataset.targets])
    config = CONFIG.model_copy(update={"epochs": 15})
    result = train_classifier(make_module(), unlabelled, dataset, config, 0, make_setup())
    assert max(row["score"] for row in result.history) > 0.9


@pytest.mark.parametrize(
    ("targets", "changes", "message"),
    [
        (np.ones(40, dtype=np.int64), {}, r"all 40 training rows have one class \(number 1\)"),
        (np.full(40, -100), {}, "no training row has a label"),
        (np.arange(40) % 3, {"class_weights": "adaptive"}, "adaptive watches validation rows, and there are none"),
        (np.arange(40) % 3, {"precision": "fp16", "device": "cpu"}, "precision fp16 needs a CUDA GPU"),
        (np.arange(40) % 3, {"gradient_checkpointing": True}, "this model has no part that can do it"),
    ],
)
def test_what_cannot_be_trained_is_named(
    dataset: TokenDataset,
    make_module: Module,
    make_setup: Setup,
    targets: np.ndarray,
    changes: dict[str, Any],
    message: str,
) -> None:
    rows = TokenDataset(dataset.rows, targets)
    with pytest.raises(TrainingError, match=message):
        train_classifier(make_module(), rows, None, CONFIG.model_copy(update=changes), 0, make_setup())


def test_adaptive_weights_need_the_task(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    config = CONFIG.model_copy(update={"class_weights": "adaptive"})
    with pytest.raises(TrainingError, match="adaptive needs to know the task"):
        train_classifier(make_module(), dataset, dataset, config, 0, make_setup())


def test_no_validation_rows_are_as_none(dataset: TokenDataset, make_module: Module, make_setup: Setup) -> None:
    none = TokenDataset(TokenRows([], []), np.empty(0, dtype=np.int64))
    assert train_classifier(make_module(), dataset, none, CONFIG, 0, make_setup()).best_epoch is None


def test_memory_that_runs_out_ends_with_a_remedy(
    dataset: TokenDataset, make_module: Module, make_setup: Setup
) -> None:
    def run_out(progress: Progress) -> None:
        raise MemoryError

    with pytest.raises(TrainingError, match=r"memory of the cpu ran out in training; lower train\.batch_size"):
        train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup(progress=run_out))


def test_the_estimate_of_memory_stands_in_the_result(
    dataset: TokenDataset, make_module: Module, make_setup: Setup
) -> None:
    result = train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup())
    assert result.memory is not None
    assert result.memory.weights == 4 * (20 * 8 + 8 * 3 + 3)


def test_gradient_checkpointing_changes_nothing_but_memory() -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=0,
        num_labels=3,
    )
    ids = [np.array([2, 5 + number % 3, 7], dtype=np.int32) for number in range(12)]
    rows = TokenDataset(TokenRows(ids, [np.zeros_like(row) for row in ids]), np.arange(12) % 3)
    found = []
    for recomputed in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = BertForSequenceClassification(config)
        settings = CONFIG.model_copy(update={"epochs": 1, "gradient_checkpointing": recomputed})
        train_classifier(module, rows, None, settings, 0, TrainSetup(3, PadCollator(0, ["input_ids"])))
        assert not module.is_gradient_checkpointing
        found.append(weights(module))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
