"""A small model learns from a large one, which sees the same training rows and no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.data import Records, cross_validate
from demur.errors import ConfigError
from demur.models import CLASSIFIERS
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.models.transformer._distill import _find_teacher, ask_teacher
from demur.tasks import JAILBREAK, REFUSAL

Make = Callable[[str], Path]
Maker = Callable[[int], Records]
TREES = {"family": "classical", "settings": {"head": "logreg"}}


def student(folder: Path, **distill: Any) -> TransformerClassifier:
    train = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01}
    values = {
        "model": str(folder),
        "max_tokens": 48,
        "prompt_tokens": 16,
        "train": train,
        "distill": distill or None,
    }
    return TransformerClassifier(REFUSAL, TransformerConfig(**values), seed=1)


@pytest.fixture
def folder(make_checkpoint: Make) -> Path:
    return make_checkpoint("bert")


@pytest.mark.parametrize("teacher", ["tfidf_logreg", {"preset": "tfidf_logreg"}, TREES])
def test_a_teacher_that_is_named_learns_the_training_rows_first(
    folder: Path, refusals: Maker, teacher: Any
) -> None:
    rows = refusals(24)
    family = CLASSIFIERS.get("classical")
    alone = family(REFUSAL, None, 1).fit(rows).predict_proba(rows)
    np.testing.assert_allclose(ask_teacher(student(folder, teacher=teacher), rows, None), alone, atol=1e-6)


def test_a_teachers_settings_are_merged_as_those_of_a_model_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = {"train": {"epochs": 7, "learning_rate": 0.5}}
    monkeypatch.setattr(TransformerClassifier, "presets", {"nested": nested})
    asked = student(folder, teacher={"preset": "nested", "settings": {"train": {"epochs": 2}}})
    train = _find_teacher(asked, asked.config.distill).config.train  # type: ignore[arg-type]
    assert (train.epochs, train.learning_rate) == (2, 0.5)


def test_in_folds_no_row_is_judged_by_a_teacher_that_learned_it(folder: Path, refusals: Maker) -> None:
    rows = refusals(36).with_column("group", [str(number % 9) for number in range(36)])
    found = ask_teacher(student(folder, teacher="tfidf_logreg", folds=3), rows, None)
    expected = np.empty((36, 3))
    for split in cross_validate(rows, REFUSAL, 3, seed=1):
        alone = CLASSIFIERS.get("classical")(REFUSAL, None, 1).fit(rows.take(split.train))
        expected[split.test] = alone.predict_proba(rows.take(split.test))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_with_all_the_weight_the_student_follows_its_teacher(folder: Path, refusals: Maker) -> None:
    rows = refusals(36)
    follower = student(folder, teacher="tfidf_logreg", weight=1.0)
    train = follower.config.train.model_copy(update={"epochs": 6})
    follower.config = follower.config.model_copy(update={"train": train})
    told = ask_teacher(follower, rows, None)
    found = follower.fit(rows).predict_proba(rows)
    # Nearer to what the teacher says than to the labels, which it was not shown.
    labels = np.eye(3)[rows.targets(REFUSAL)]
    assert np.abs(found - told).mean() < np.abs(found - labels).mean()
    assert np.mean(found.argmax(axis=1) == told.argmax(axis=1)) > 0.9


def test_a_weight_makes_a_difference_and_a_seed_none(folder: Path, refusals: Maker) -> None:
    rows = refusals(24)
    first, again, other = (
        student(folder, teacher="tfidf_logreg", weight=weight).fit(rows).predict_proba(rows)
        for weight in (0.5, 0.5, 0.9)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_saved_teacher_needs_somebody_to_vouch_for_it(folder: Path, refusals: Maker, tmp_path: Path) -> None:
    CLASSIFIERS.get("classical")(REFUSAL, None, 1).fit(refusals(24)).save(tmp_path / "teacher")
    named = str(tmp_path / "teacher")
    with pytest.raises(ConfigError, match=r"was trained before; .* or set distill\.unseen: true"):
        student(folder, teacher=named).fit(refusals(24))
    found = ask_teacher(student(folder, teacher=named, unseen=True), refusals(6), None)
    assert found.shape == (6, 3)


def test_a_teacher_of_another_task_is_refused(folder: Path, refusals: Maker, tmp_path: Path) -> None:
    rows = refusals(12).with_column("jailbreak", ["attack_failed", "attack_succeeded"] * 6)
    CLASSIFIERS.get("classical")(JAILBREAK, None, 1).fit(rows).save(tmp_path / "teacher")
    asked = student(folder, teacher=str(tmp_path / "teacher"), unseen=True)
    with pytest.raises(ConfigError, match="knows the labels attack_failed, attack_succeeded, the task 'refusal'"):
        ask_teacher(asked, refusals(6), None)


def test_a_folder_that_is_no_model_is_refused(folder: Path, refusals: Maker, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no saved model \(no demur\.json in it\)"):
        ask_teacher(student(folder, teacher=str(tmp_path)), refusals(6), None)


def test_a_killed_training_finds_what_the_teacher_said(
    folder: Path, refusals: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from demur.models.transformer import _distill

    asked = student(folder, teacher="tfidf_logreg")
    asked.checkpoint_folder = tmp_path
    first = ask_teacher(asked, refusals(12), None)

    def fail(*_: object) -> None:
        raise AssertionError("the teacher was made again")

    monkeypatch.setattr(_distill, "_new_teacher", fail)
    np.testing.assert_array_equal(ask_teacher(asked, refusals(12), None), first)
    with pytest.raises(AssertionError, match="made again"):
        ask_teacher(asked, refusals(15), None)
