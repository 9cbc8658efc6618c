"""The one torch training loop: any module that gives logits, trained on encoded rows.

What a step, an epoch and a checkpoint are is left to ``transformers.Trainer`` (see ``_loop.py``); this
module decides what to train with, when to stop, which checkpoint to keep, and whether to go on where a killed
run stopped.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demur.errors import DemurError, TrainingError, require, translate_os_error
from demur.paths import full_disk_as_os_error
from demur.tasks import Task
from demur.training._checkpoint import fingerprint_training
from demur.training._config import TrainConfig
from demur.training._data import PadCollator, TokenDataset
from demur.training._runtime import quiet_transformers, seeded
from demur.training._scores import ValidationScore

if TYPE_CHECKING:
    from torch import nn

    from demur.training._losses import Loss
    from demur.training._memory import MemoryEstimate


@dataclass(frozen=True)
class Progress:
    """Where a training stands; given to the progress hook after every step and every validation."""

    step: int
    steps: int
    epoch: float
    score: float | None
    """The last validation score, None before the first."""


@dataclass(frozen=True)
class TrainSetup:
    """What a training needs beside module, rows and settings.

    Parameters
    ----------
    classes
        How many classes the logits have; of no meaning with heads.
    collator
        Makes batches of dataset items.
    score
        Judges a model on the validation rows; higher is better.
    folder
        Where checkpoints go; they stay there, and the same call finds them again after a kill. A
        temporary folder where None.
    progress
        Called with a :class:`Progress` after every step.
    task
        The task that is learnt: says which classes focal loss weighs more, and what adaptive weights watch.
    heads
        The tasks of a module with several heads, by name, in the order of the columns of the targets. Its
        logits are then a mapping from head to ``(n, k)``, or one tensor with the heads' columns in that order.
    loss
        The loss; where None it is made from the settings.
    rates
        Factors on the learning rate, by the name of the parameter; 1 where absent.
    max_tokens
        What ``padding: max_length`` pads to; the longest training row where None.
    """

    classes: int
    collator: PadCollator
    score: ValidationScore | None = None
    folder: Path | None = None
    progress: Callable[[Progress], None] | None = None
    task: Task | None = None
    heads: Mapping[str, Task] | None = None
    loss: Loss | None = None
    rates: Mapping[str, float] | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class TrainResult:
    """How a training went."""

    epochs: float
    steps: int
    best_epoch: float | None
    """The epoch whose weights were kept; None where nothing was validated and the last ones were."""
    history: list[dict[str, Any]] = field(repr=False)
    """One entry a validation (without: a stretch of as many steps), fit for JSON: ``epoch``, ``step``, mean
    ``loss`` since the entry before, ``learning_rate``; with validation ``score``, ``valid_loss`` and ``choice``,
    the figure that chooses; with adaptive class weights ``weights``, the alpha in force so far."""
    seconds: float
    alpha_trajectory: dict[str, Any] | None = field(default=None, repr=False)
    """What adaptive class weights did: see :meth:`WeightController.trajectory`; with heads, one for each."""
    memory: MemoryEstimate | None = field(default=None, repr=False)
    """What memory was reckoned before the first step; None for a training that was found finished."""


def train_classifier(
    module: nn.Module,
    train: TokenDataset,
    valid: TokenDataset | None,
    config: TrainConfig,
    seed: int,
    setup: TrainSetup,
) -> TrainResult:
    """Train a module in place; it ends with the weights of the best validation.

    Parameters
    ----------
    module
        Called with the collator's inputs; returns an object or mapping with ``logits`` ``(n, k)``.
    train
        The rows to learn from.
    valid
        The rows that choose the checkpoint and stop the training early; without them, or without
        ``setup.score``, all epochs run and the last weights are kept.
    seed
        Seed of dropout and of the order of the rows. The same seed gives the same weights on the same
        machine and thread count, also when a killed training was resumed.

    Raises
    ------
    TrainingError
        There is nothing to learn from; the loss is NaN or infinite: lower the learning rate, or train in fp32;
        or memory does not suffice: the message names what helps.
    StorageError
        The disk is full or not writable.
    MissingDependencyError
        torch, transformers or accelerate is not installed.
    """
    for library in ("torch", "transformers", "accelerate"):
        require(library, extra="torch")
    from demur.training import _loop

    started = time.perf_counter()
    judged = valid.sorted_by_length() if valid is not None and len(valid) and setup.score is not None else None
    _check_rows(train, judged, config, setup)
    setup = _fill_setup(setup, train, config)
    assert setup.loss is not None
    settings = {"config": config.model_dump(mode="json"), "seed": seed, "rates": dict(setup.rates or {})}
    fingerprint = fingerprint_training(module, train, judged, settings | {"loss": str(setup.loss)})
    plan = _loop.LoopPlan(config, seed, setup, setup.loss, fingerprint)
    try:
        with (
            full_disk_as_os_error(),
            _checkpoint_folder(setup.folder) as folder,
            seeded(seed),
            quiet_transformers(),
        ):
            done = _loop.run_loop(module, train, judged, plan, folder)
    except DemurError:
        raise
    except OSError as error:
        raise translate_os_error(error, "training") from error
    _check_weights(module)
    state = done.state
    history = _read_history(state.log_history)
    best = {row["step"]: row["epoch"] for row in history}.get(state.best_global_step)
    return TrainResult(
        epochs=float(state.epoch or 0),
        steps=int(state.global_step),
        best_epoch=best if judged is not None else None,
        history=history,
        seconds=time.perf_counter() - started,
        alpha_trajectory=done.trajectory,
        memory=done.memory,
    )


def _check_rows(train: TokenDataset, valid: TokenDataset | None, config: TrainConfig, setup: TrainSetup) -> None:
    known = train.targets[train.targets >= 0]
    if not len(known) and train.soft is None:
        raise TrainingError("no training row has a label; give labelled rows")
    if setup.heads is None and train.soft is None and len(np.unique(known)) < 2:
        raise TrainingError(
            f"all {len(known)} training rows have one class (number {known[0]}); add rows of another class"
        )
    if config.class_weights != "adaptive":
        return
    if valid is None:
        raise TrainingError(
            "class_weights adaptive watches validation rows, and there are none; "
            "give validation rows, or set train.class_weights: balanced"
        )
    if setup.task is None and setup.heads is None:
        raise TrainingError("class_weights adaptive needs to know the task; pass TrainSetup(task=...)")


def _fill_setup(setup: TrainSetup, train: TokenDataset, config: TrainConfig) -> TrainSetup:
    from demur.training import _losses

    loss = setup.loss
    if loss is None and setup.heads is not None:
        loss = _losses.make_multi_loss(config, train.targets, setup.heads)
    elif loss is None:
        hard = _losses.make_loss(config, train.targets, setup.classes, setup.task)
        loss = hard if train.soft is None else _losses.DistillationLoss(hard)
    collator = setup.collator
    if config.padding == "max_length":
        collator = PadCollator(
            collator.pad_id, collator.inputs, setup.max_tokens or int(train.lengths.max(initial=1))
        )
    return replace(setup, loss=loss, collator=collator)


@contextmanager
def _checkpoint_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="demur-train-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _read_history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {
        "loss": "loss",
        "learning_rate": "learning_rate",
        "eval_score": "score",
        "eval_loss": "valid_loss",
        "eval_choice": "choice",
        "eval_weights": "weights",
    }
    rows: dict[int, dict[str, Any]] = {}
    for entry in log:
        found = {ours: entry[theirs] for theirs, ours in names.items() if theirs in entry}
        if found:
            step = int(entry["step"])
            rows.setdefault(step, {"epoch": float(entry["epoch"]), "step": step}).update(found)
    return list(rows.values())


def _check_weights(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise TrainingError(
                f"training ended with weights that are not finite (first in '{name}'); "
                "lower train.learning_rate or set train.precision: fp32"
            )
