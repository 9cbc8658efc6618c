"""The loop learns, stops, keeps the best epoch, resumes exactly, and says why it failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.errors import StorageError, TrainingError
from demur.tasks import REFUSAL
from demur.training import Progress, TokenDataset, TrainConfig, TrainSetup, train_classifier, validation_score
from demur.training._checkpoint import is_patience_spent, prepare_folder

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


def test_a_checkpoint_cut_off_while_writing_is_dropped(tmp_path: Path) -> None:
    assert prepare_folder(tmp_path, "x") is None
    for step, state in ((5, "{}"), (10, '{"epoch": 2')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(state)
    assert prepare_folder(tmp_path, "x") == tmp_path / "checkpoint-5"
    assert not (tmp_path / "checkpoint-10").exists()


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


@pytest.mark.parametrize(
    ("scores", "spent"), [([], False), ([0.1, 0.2], False), ([0.2, 0.1], False), ([0.2, 0.1, 0.2], True)]
)
def test_patience_counts_validations_since_the_best(scores: list[float], spent: bool) -> None:
    log = [{"loss": 1.0}, *({"eval_score": score} for score in scores)]
    assert is_patience_spent(log, patience=2) is spent


def test_validation_score_is_the_security_score_of_the_likeliest_class() -> None:
    targets = np.array([0, 1, 2])
    assert validation_score(REFUSAL)(targets, np.eye(3)) == pytest.approx(1)
    assert validation_score(REFUSAL)(targets, np.eye(3)[[1, 0, 2]]) < 0.1


def test_the_checkpoint_folder_names_its_training(
    dataset: TokenDataset, make_module: Module, make_setup: Setup, tmp_path: Path
) -> None:
    train_classifier(make_module(), dataset, None, CONFIG, 0, make_setup(folder=tmp_path))
    assert set(json.loads((tmp_path / "training.json").read_text())) == {"fingerprint"}
