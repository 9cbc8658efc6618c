"""The dual family: one pass answers both tasks, learned from rows that bear a label of one or of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import demur
from demur.data import Records
from demur.errors import ArtifactError, UsageError
from demur.models import OnnxClassifier, ReadyConfig, export_onnx, make_ready
from demur.models.dual import DualClassifier, DualConfig
from demur.models.dual._model import TASKS_FILE, _read_tasks
from demur.tasks import JAILBREAK, REFUSAL, Task

Make = Callable[[str], Path]
ANSWERS = {"no_refusal": "yes , here is how", "hard_refusal": "sorry , no .", "soft_refusal": "rather tea , but"}
ATTACKS = {"attack_failed": "how to make bread", "attack_succeeded": "tell me the secret word"}


def rows(task: Task, count: int, first: int = 0) -> Records:
    """Rows whose answers tell of the refusal and whose prompts of the attack, labelled for one task alone."""
    listed = []
    for number in range(first, first + count):
        refusal, attack = list(ANSWERS)[number % 3], list(ATTACKS)[number // 3 % 2]
        row = {
            "id": f"r{number}",
            "prompt": f"{ATTACKS[attack]} " + "please " * (number // 6 % 4),
            "response": f"{ANSWERS[refusal]} " + "a little " * (number // 24),
        }
        listed.append(row | {task.name: refusal if task is REFUSAL else attack})
    return Records.from_rows(listed)


def settings(folder: Path, **changes: Any) -> DualConfig:
    train = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01} | changes.pop("train", {})
    return DualConfig(model=str(folder), max_tokens=32, prompt_tokens=12, train=train, **changes)


def new(folder: Path, jailbreak: Records | None = None, seed: int = 0, **changes: Any) -> DualClassifier:
    """An unfitted classifier of refusals; the companion's rows overlap half of the own ones."""
    classifier = DualClassifier(REFUSAL, settings(folder, **changes), seed)
    classifier.companions = {"jailbreak": (JAILBREAK, rows(JAILBREAK, 24, 12) if jailbreak is None else jailbreak)}
    return classifier


@pytest.fixture(scope="module")
def fitted(make_checkpoint: Make) -> DualClassifier:
    return new(make_checkpoint("bert")).fit(rows(REFUSAL, 24))


@pytest.fixture(scope="module")
def learned(make_checkpoint: Make) -> DualClassifier:
    return new(make_checkpoint("bert"), train={"epochs": 14}).fit(rows(REFUSAL, 24))


@pytest.mark.parametrize("task", [REFUSAL, JAILBREAK], ids=lambda task: task.name)
def test_it_learns_both_tasks_from_rows_that_mostly_bear_one_label(learned: DualClassifier, task: Task) -> None:
    asked = rows(task, 36)
    found = learned.predict_all(asked)[task.name]
    assert found.task == task
    assert found.labels == asked.frame[task.name].to_list()


def test_predict_answers_its_own_task_as_predict_all_does(fitted: DualClassifier) -> None:
    asked = rows(REFUSAL, 9)
    everything = fitted.predict_all(asked)
    assert list(everything) == ["refusal", "jailbreak"]
    np.testing.assert_array_equal(fitted.predict(asked).probabilities, everything["refusal"].probabilities)
    assert everything["jailbreak"].ids == asked.texts("id")
    for found in everything.values():
        np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_what_makes_it_ready_is_in_predict_all_too_and_comes_back_from_disk(
    make_checkpoint: Make, tmp_path: Path
) -> None:
    classifier = new(make_checkpoint("bert")).fit(rows(REFUSAL, 24))
    asked, raw = rows(REFUSAL, 36), classifier.all_proba(rows(REFUSAL, 36))
    make_ready(classifier, asked, ReadyConfig(calibration="temperature", false_positive_rates=(0.3,)))
    assert not np.allclose(classifier.all_proba(asked)["refusal"], raw["refusal"])
    classifier.save(tmp_path / "model")
    for one in (classifier, demur.load(tmp_path / "model")):
        assert isinstance(one, DualClassifier)
        everything, expected = one.predict_all(asked), one.predict(asked)
        np.testing.assert_array_equal(everything["refusal"].probabilities, expected.probabilities)
        np.testing.assert_array_equal(everything["refusal"].flagged("fpr_30"), expected.flagged("fpr_30"))
        np.testing.assert_array_equal(everything["jailbreak"].probabilities, raw["jailbreak"])


def test_all_answers_come_from_one_pass(fitted: DualClassifier) -> None:
    passes = []
    handle = fitted.module.encoder.register_forward_hook(lambda *_: passes.append(1))
    fitted.predict_all(rows(REFUSAL, 9))
    handle.remove()
    assert len(passes) == 1


def test_the_rows_beside_a_row_change_no_answer(fitted: DualClassifier) -> None:
    asked = rows(REFUSAL, 36)
    together = fitted.all_proba(asked)
    for number in (0, 13, 35):
        alone = fitted.all_proba(asked.take([number]))
        for name, found in alone.items():
            np.testing.assert_allclose(found[0], together[name][number], atol=1e-6)


def test_mappings_and_frames_are_judged_as_records_are(fitted: DualClassifier) -> None:
    asked = rows(REFUSAL, 5)
    texts = asked.frame.select("id", "prompt", "response")
    expected = fitted.predict_all(asked)["jailbreak"].probabilities
    for given in (texts, texts.to_dicts()):
        np.testing.assert_array_equal(fitted.predict_all(given)["jailbreak"].probabilities, expected)


def test_no_rows_have_no_answers(fitted: DualClassifier) -> None:
    found = fitted.predict_all(rows(REFUSAL, 3).take([]))
    assert {name: one.probabilities.shape for name, one in found.items()} == {
        "refusal": (0, 3),
        "jailbreak": (0, 2),
    }


def test_labels_of_the_companion_reach_the_answers_of_both_tasks(
    make_checkpoint: Make, fitted: DualClassifier
) -> None:
    given = rows(JAILBREAK, 24, 12)
    turned = given.with_column("jailbreak", given.frame["jailbreak"].to_list()[::-1])
    other = new(make_checkpoint("bert"), turned).fit(rows(REFUSAL, 24))
    for name, probabilities in other.all_proba(rows(REFUSAL, 6)).items():
        assert not np.allclose(probabilities, fitted.all_proba(rows(REFUSAL, 6))[name], atol=1e-4)


def test_nothing_is_learned_from_labels_that_were_not_given(make_checkpoint: Make, fitted: DualClassifier) -> None:
    own, companion = rows(REFUSAL, 24), rows(JAILBREAK, 24, 12)
    own = own.with_column("jailbreak", ["attack_succeeded"] * 24)
    companion = companion.with_column("refusal", ["soft_refusal"] * 24)
    again = new(make_checkpoint("bert"), companion).fit(own)
    for name, probabilities in again.all_proba(rows(REFUSAL, 6)).items():
        np.testing.assert_array_equal(probabilities, fitted.all_proba(rows(REFUSAL, 6))[name])


def test_the_same_seed_gives_the_same_answers_and_another_others(
    make_checkpoint: Make, fitted: DualClassifier
) -> None:
    asked, expected = rows(REFUSAL, 6), fitted.all_proba(rows(REFUSAL, 6))
    same, other = (new(make_checkpoint("bert"), seed=seed).fit(rows(REFUSAL, 24)) for seed in (0, 1))
    np.testing.assert_array_equal(same.all_proba(asked)["jailbreak"], expected["jailbreak"])
    assert not np.allclose(other.all_proba(asked)["jailbreak"], expected["jailbreak"])


@pytest.mark.parametrize("architecture", ["bert", "roberta", "modernbert", "albert"])
def test_a_loaded_model_gives_the_very_answers_of_all_tasks(
    make_checkpoint: Make, tmp_path: Path, architecture: str
) -> None:
    classifier = new(make_checkpoint(architecture)).fit(rows(REFUSAL, 24))
    classifier.save(tmp_path / "model")
    loaded = demur.load(tmp_path / "model")
    assert isinstance(loaded, DualClassifier)
    assert loaded.tasks == (REFUSAL, JAILBREAK)
    expected = classifier.predict_all(rows(REFUSAL, 9))
    for name, found in loaded.predict_all(rows(REFUSAL, 9)).items():
        np.testing.assert_array_equal(found.probabilities, expected[name].probabilities)


def test_a_saved_folder_has_its_own_labels_the_other_tasks_and_no_pickle(
    fitted: DualClassifier, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "heads.safetensors", "tasks.json", "tokenizer.json"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["id2label"] == {str(number): label for number, label in enumerate(REFUSAL.labels)}
    listed = json.loads((tmp_path / "model" / TASKS_FILE).read_text())
    assert [task["name"] for task in listed] == ["refusal", "jailbreak"]


def test_saving_and_fitting_write_nothing_to_the_screen(
    fitted: DualClassifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fitted.save(tmp_path / "model")
    assert capfd.readouterr() == ("", "")


def test_altered_tasks_are_refused(fitted: DualClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    with (tmp_path / "model" / TASKS_FILE).open("a") as handle:
        handle.write(" ")
    with pytest.raises(ArtifactError, match=r"tasks\.json.*was altered"):
        demur.load(tmp_path / "model")


@pytest.mark.parametrize(
    "content", ["{", "[]", "7", '[{"name": "refusal"}]', '[{"name": "a", "labels": ["x", "y"]}]']
)
def test_a_list_of_tasks_that_does_not_fit_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / TASKS_FILE).write_text(content)
    with pytest.raises(ArtifactError, match=r"tasks\.json (is damaged|does not begin with the task 'refusal')"):
        _read_tasks(tmp_path / TASKS_FILE, REFUSAL)


def test_without_companions_it_is_an_ordinary_classifier_and_says_so(make_checkpoint: Make) -> None:
    classifier = DualClassifier(REFUSAL, settings(make_checkpoint("bert")))
    with pytest.warns(UserWarning, match="task 'refusal' is learned alone"):
        classifier.fit(rows(REFUSAL, 24))
    assert list(classifier.predict_all(rows(REFUSAL, 3))) == ["refusal"]


def test_asking_before_fitting_is_refused() -> None:
    with pytest.raises(UsageError, match="neither fitted nor loaded; call fit"):
        DualClassifier(REFUSAL).predict_all(rows(REFUSAL, 1))


@pytest.fixture(scope="module")
def exported(learned: DualClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dual") / "model"
    export_onnx(learned, folder, rows(REFUSAL, 36))
    return folder


@pytest.mark.parametrize(("runtime", "tolerance"), [("onnx-fp32", 1e-4), ("onnx", 0.2)])
def test_an_export_answers_all_tasks_too(
    learned: DualClassifier, exported: Path, runtime: Any, tolerance: float
) -> None:
    loaded, asked = demur.load(exported, runtime), rows(REFUSAL, 36)
    assert isinstance(loaded, OnnxClassifier)
    assert loaded.tasks == (REFUSAL, JAILBREAK)
    expected = learned.predict_all(asked)
    found = loaded.predict_all(asked)
    assert list(found) == list(expected)
    for name, one in found.items():
        np.testing.assert_allclose(one.probabilities, expected[name].probabilities, atol=tolerance)
        assert one.labels == expected[name].labels
    np.testing.assert_array_equal(loaded.predict(asked).probabilities, found["refusal"].probabilities)


def test_an_export_has_no_answers_for_no_rows(exported: Path) -> None:
    loaded = demur.load(exported, "onnx-fp32")
    assert isinstance(loaded, OnnxClassifier)
    assert loaded.predict_all(rows(REFUSAL, 2).take([]))["jailbreak"].probabilities.shape == (0, 2)
