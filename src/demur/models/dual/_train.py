"""Fine-tuning on several tasks at once: rows joined and encoded, and one call of the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from demur.data import Records, SplitConfig
from demur.errors import LabelError
from demur.models._encoder import resolve_model
from demur.models._pretrained import check_length, input_names, load_tokenizer
from demur.models.dual._companions import choose_companions, split_companions
from demur.models.dual._config import DualConfig
from demur.models.dual._join import MISSING_LABEL, JoinedRows, Part, join_rows
from demur.tasks import Task
from demur.training import (
    PadCollator,
    TokenDataset,
    TrainResult,
    TrainSetup,
    multi_task_score,
    seeded,
    train_classifier,
)

if TYPE_CHECKING:
    from demur.models.dual._model import DualClassifier

MOST_BALANCE = 10.0
"""How much more a label of a small task counts at most; beyond it a handful of rows would steer the encoder."""


def fit_dual(classifier: DualClassifier, train: Records, valid: Records | None) -> TrainResult:
    """Build the classifier's module and train it on its own rows and its companions'; sets what goes with it."""
    from demur.models.dual._module import build_module
    from demur.models.transformer._rates import layer_rates
    from demur.training import make_multi_loss

    config = classifier.config
    parts, watched = divide_parts(classifier, train, valid)
    tasks = [task for task, _ in parts]
    rows = join_rows(parts, classifier.fields)
    judged = join_rows(watched, classifier.fields) if watched else None
    check_classes(rows, tasks[0])
    folder = resolve_model(config.model)
    tokenizer = load_tokenizer(folder)
    with seeded(classifier.seed):
        module = build_module(folder, config, tasks)
    check_length(module.config, tokenizer.pad_token_id, config.max_tokens)
    tokenizer.model_max_length = config.max_tokens
    classifier.attach(module, tokenizer, tasks)
    heads = {task.name: task for task in tasks}
    return train_classifier(
        module,
        _dataset(classifier, rows),
        _dataset(classifier, judged) if judged is not None and len(judged) else None,
        config.train,
        classifier.seed,
        TrainSetup(
            classes=sum(module.classes),
            collator=PadCollator(classifier.pad_id, input_names(module.encoder, tokenizer)),
            score=multi_task_score(heads),
            heads=heads,
            loss=make_multi_loss(config.train, rows.targets, heads, weigh_tasks(rows.targets, tasks, config)),
            folder=classifier.checkpoint_folder,
            progress=classifier.on_progress,
            rates=layer_rates(module, module.encoder, config.layer_decay) if config.layer_decay < 1 else None,
            max_tokens=config.max_tokens,
        ),
    )


def divide_parts(
    classifier: DualClassifier, train: Records, valid: Records | None
) -> tuple[list[Part], list[Part]]:
    """What is trained on and what is watched, each by task, the classifier's own first in both.

    A task without watched rows has an empty table there, so that the columns are the same.
    """
    task, config, fields = classifier.task, classifier.config, classifier.fields
    companions = choose_companions(task, config, classifier.companions)
    if valid is None or not len(valid):
        return [(task, train), *companions], []
    if not config.valid_share:
        return [(task, train), *companions], [(task, valid), *((one, rows.take([])) for one, rows in companions)]
    split = SplitConfig(test=config.valid_share, valid=0, seed=classifier.seed)
    divided = split_companions(companions, train, valid, split, fields)
    return (
        [(task, train), *(part for part, _ in divided)],
        [(task, valid), *(part for _, part in divided)],
    )


def check_classes(rows: JoinedRows, task: Task) -> None:
    """Refuse rows whose contradictory labels leave the classifier's own task with one class.

    Raises
    ------
    LabelError
        Fewer than two classes are left.
    """
    own = rows.targets[:, 0]
    if len(np.unique(own[own != MISSING_LABEL])) < 2:
        raise LabelError(
            f"the same texts bear contradictory labels of task '{task.name}', and without them fewer than two "
            "classes are left; clean the rows first (demur data clean)"
        )


def weigh_tasks(targets: NDArray[np.int64], tasks: Sequence[Task], config: DualConfig) -> dict[str, float]:
    """How much a label of each task counts in the loss; the mean over all labels is 1 before ``task_weights``."""
    counts = (targets != MISSING_LABEL).sum(axis=0)  # (t,)
    shares = np.ones(len(tasks))
    if config.balance_tasks:
        shares = np.clip(counts.max() / np.maximum(counts, 1), 1, MOST_BALANCE)
        shares *= counts.sum() / (shares * counts).sum()
    return {
        task.name: float(share) * config.task_weights.get(task.name, 1.0)
        for task, share in zip(tasks, shares, strict=True)
    }


def _dataset(classifier: DualClassifier, rows: JoinedRows) -> TokenDataset:
    return TokenDataset(classifier.encode(rows.records), rows.targets)
