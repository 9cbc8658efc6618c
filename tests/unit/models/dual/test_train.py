"""What the loop is given: joined rows, a loss that no task drowns, a mean of scores; and a kill costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.data import Records
from demur.errors import LabelError
from demur.models.dual import DualClassifier, DualConfig
from demur.models.dual._join import MISSING_LABEL
from demur.models.dual._train import MOST_BALANCE, divide_parts, weigh_tasks
from demur.tasks import JAILBREAK, REFUSAL, Task
from demur.training import Progress

Make = Callable[[str], Path]
WORDS = ("bread", "tea", "secret", "word", "little", "process")


class Killed(BaseException):
    """Stands for the end of the process."""


def rows(task: Task, count: int, first: int = 0) -> Records:
    listed = []
    for number in range(first, first + count):
        label = task.labels[number % len(task.labels)]
        response = f"{('yes sure', 'sorry no', 'rather but')[task.label_id(label)]} {WORDS[number // 6 % 6]}"
        listed.append({"prompt": f"tell {WORDS[number % 6]}", "response": response, task.name: label})
    return Records.from_rows(listed).with_column("group", [f"{task.name} {number}" for number in range(count)])


def new(folder: Path | str, companion: Records | None = None, **changes: Any) -> DualClassifier:
    train = {"epochs": 3, "batch_size": 4, "learning_rate": 0.01}
    config = DualConfig(model=str(folder), max_tokens=32, prompt_tokens=12, train=train, **changes)
    classifier = DualClassifier(REFUSAL, config, seed=4)
    classifier.companions = {"jailbreak": (JAILBREAK, rows(JAILBREAK, 16, 3) if companion is None else companion)}
    return classifier


def test_rows_hold_prompt_then_response(make_checkpoint: Make) -> None:
    classifier = new(make_checkpoint("bert")).fit(rows(REFUSAL, 8))
    encoded = classifier.encode(rows(REFUSAL, 1))
    words = classifier.tokenizer.convert_ids_to_tokens(encoded.ids[0].tolist())
    assert words == ["[CLS]", "tell", "bread", "[SEP]", "yes", "sure", "bread", "[SEP]"]


def test_watched_rows_of_both_tasks_give_the_score_whose_best_epoch_is_kept(make_checkpoint: Make) -> None:
    classifier = new(make_checkpoint("bert")).fit(rows(REFUSAL, 16), rows(REFUSAL, 8, 20))
    assert classifier.training is not None
    assert classifier.training.best_epoch in {1.0, 2.0, 3.0}
    assert all(0 <= row["score"] <= 1 for row in classifier.training.history)


def test_a_layer_decay_leaves_the_lowest_weights_nearest_to_where_they_were(make_checkpoint: Make) -> None:
    import torch
    from transformers import AutoModel

    from demur.models._pretrained import load_module

    before = load_module(AutoModel, make_checkpoint("bert")).get_input_embeddings().weight.detach()
    moved = []
    for decay in (1.0, 0.3):
        classifier = new(make_checkpoint("bert"), layer_decay=decay).fit(rows(REFUSAL, 16))
        after = classifier.module.encoder.get_input_embeddings().weight.detach().cpu()
        moved.append(float(torch.linalg.norm(after - before)))
    assert moved[1] < 0.5 * moved[0]


def test_without_watched_rows_every_epoch_runs(make_checkpoint: Make) -> None:
    classifier = new(make_checkpoint("bert")).fit(rows(REFUSAL, 16))
    assert classifier.training is not None
    assert classifier.training.best_epoch is None
    assert classifier.training.epochs == 3


def test_a_kill_costs_nothing(make_checkpoint: Make, tmp_path: Path) -> None:
    train, valid = rows(REFUSAL, 16), rows(REFUSAL, 8, 20)
    whole = new(make_checkpoint("bert")).fit(train, valid)

    def kill(progress: Progress) -> None:
        if progress.epoch > 1.3:
            raise Killed

    killed = new(make_checkpoint("bert"))
    killed.checkpoint_folder, killed.on_progress = tmp_path, kill
    with pytest.raises(Killed):
        killed.fit(train, valid)
    resumed, steps = new(make_checkpoint("bert")), list[int]()
    resumed.checkpoint_folder, resumed.on_progress = tmp_path, lambda progress: steps.append(progress.step)
    resumed.fit(train, valid)
    assert min(steps) > 1
    for name, probabilities in resumed.all_proba(valid).items():
        np.testing.assert_array_equal(probabilities, whole.all_proba(valid)[name])


def test_contradictory_labels_that_leave_one_class_are_refused(make_checkpoint: Make) -> None:
    same = rows(REFUSAL, 2).with_column("prompt", ["tell", "tell"]).with_column("response", ["tea", "tea"])
    with pytest.raises(LabelError, match=r"contradictory labels of task 'refusal'.*; clean the rows"):
        new(make_checkpoint("bert")).fit(same)


def test_nothing_of_a_companion_is_watched_where_nothing_own_is() -> None:
    trained, watched = divide_parts(new("x"), rows(REFUSAL, 9), None)
    assert [len(part) for _, part in trained] == [9, 16]
    assert watched == []


def test_watched_parts_are_in_the_order_of_the_trained_ones() -> None:
    trained, watched = divide_parts(new("x", valid_share=0.25), rows(REFUSAL, 9), rows(REFUSAL, 6, 40))
    assert [task.name for task, _ in trained] == [task.name for task, _ in watched] == ["refusal", "jailbreak"]
    assert len(watched[1][1]) == 4
    assert len(trained[1][1]) == 12


def test_a_share_of_nothing_leaves_a_companion_s_rows_to_train_on() -> None:
    trained, watched = divide_parts(new("x", valid_share=0), rows(REFUSAL, 9), rows(REFUSAL, 6, 40))
    assert len(trained[1][1]) == 16
    assert len(watched[1][1]) == 0


def targets(*counts: int) -> Any:
    found = np.full((sum(counts), len(counts)), MISSING_LABEL)
    start = 0
    for column, count in enumerate(counts):
        found[start : start + count, column] = 0
        start += count
    return found


def weights(counts: Sequence[int], **changes: Any) -> list[float]:
    return list(weigh_tasks(targets(*counts), (REFUSAL, JAILBREAK), DualConfig(**changes)).values())


@given(st.integers(1, 60), st.integers(1, 60))
def test_tasks_count_the_same_up_to_a_bound_and_the_mean_label_counts_one(first: int, second: int) -> None:
    found = np.array(weights([first, second]))
    counts = np.array([first, second])
    assert (found * counts).sum() == pytest.approx(counts.sum())
    assert found.max() / found.min() == pytest.approx(min(counts.max() / counts.min(), MOST_BALANCE))
    if counts.max() <= MOST_BALANCE * counts.min():
        assert (found * counts)[0] == pytest.approx((found * counts)[1])


def test_every_label_counts_the_same_where_that_is_wanted() -> None:
    assert weights([30, 3], balance_tasks=False) == [1, 1]


def test_a_weight_of_a_task_comes_on_top() -> None:
    assert weights([8, 8], task_weights={"jailbreak": 3.0}) == [1, 3]
