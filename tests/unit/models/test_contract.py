"""What every registered classifier owes: the same tests over every preset and four kinds of task."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import polars as pl
import pytest

import demur
from demur.data import Records
from demur.errors import LabelError
from demur.models import Classifier, list_presets
from demur.models._short_names import HUB_MODELS

NAMES = ("refusal", "jailbreak", "prompt_risk", "tone")
HEAVY = ("transformer", "dual", "neural")
LIGHT = ("neural_cnn",)
"""Of the heavy families, what is tested every time."""
OPEN = ("transformer", "dual")
"""Families that give every class of the task a probability, seen or not."""
PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
PRESETS = [
    pytest.param(name, marks=pytest.mark.slow if family in HEAVY and name not in LIGHT else [])
    for name, (family, _) in list_presets().items()
    # Those differ here in nothing but their names; see transformer/test_presets.py.
    if name not in HUB_MODELS
]
TRAINED = [case for case in PRESETS if list_presets()[case.values[0]][0] != "rules"]
CLOSED = [case for case in TRAINED if list_presets()[case.values[0]][0] not in OPEN]
every_preset = pytest.mark.parametrize("preset", PRESETS)
every_task = pytest.mark.parametrize("name", NAMES)


@every_preset
@every_task
def test_it_is_a_classifier_and_knows_what_it_reads(fitted, tasks, preset, name):
    classifier = fitted(preset, tasks[name])
    assert isinstance(classifier, Classifier)
    assert set(classifier.reads) <= set(tasks[name].fields)
    assert classifier.reads


@every_preset
@every_task
def test_probabilities_are_finite_and_sum_to_one(fitted, labelled, tasks, preset, name):
    task = tasks[name]
    rows = labelled(task)
    found = fitted(preset, task).predict_proba(rows)
    assert found.shape == (len(rows), len(task.labels))
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@every_preset
@every_task
def test_no_record_gives_no_probability(fitted, labelled, tasks, preset, name):
    task = tasks[name]
    assert fitted(preset, task).predict_proba(labelled(task).take([])).shape == (0, len(task.labels))


@every_preset
@every_task
def test_mappings_a_frame_and_records_are_judged_alike(fitted, labelled, tasks, preset, name):
    task = tasks[name]
    classifier, rows = fitted(preset, task), labelled(task).take(range(7))
    expected = classifier.predict(rows)
    texts = rows.frame.select("prompt", "response")
    for given in (texts, texts.to_dicts(), Records(texts)):
        np.testing.assert_array_equal(classifier.predict(given).probabilities, expected.probabilities)
    assert set(expected.labels) <= set(task.labels)
    assert expected.frame().columns == ["id", "label", *(f"p_{label}" for label in task.labels)]


@every_preset
@every_task
def test_empty_and_odd_texts_are_judged(fitted, tasks, preset, name):
    odd = ["", " ", "\0", "\n\n", "東京", "é" * 3000, "🙂", "a" * 9000, "?!.,;", "\u202e\ufeff", "I can’t"]
    rows = [{"prompt": text, "response": other} for text in odd for other in ("", text)] + [{"prompt": None}]
    found = fitted(preset, tasks[name]).predict(rows).probabilities
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@every_preset
@every_task
def test_a_row_is_judged_alike_whatever_stands_beside_it(fitted, labelled, tasks, preset, name):
    classifier, rows = fitted(preset, tasks[name]), labelled(tasks[name])
    whole = classifier.predict_proba(rows)
    parts = [classifier.predict_proba(rows.take(range(at, min(at + 13, 60)))) for at in range(0, 60, 13)]
    np.testing.assert_allclose(np.vstack(parts), whole, atol=1e-5)


@every_preset
@every_task
def test_a_loaded_model_gives_the_very_same_probabilities(fitted, labelled, tasks, tmp_path, preset, name):
    classifier, rows = fitted(preset, tasks[name]), labelled(tasks[name], n=97)
    classifier.save(tmp_path / "model")
    loaded = demur.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(rows), classifier.predict_proba(rows))
    assert type(loaded) is type(classifier)
    assert (loaded.task, loaded.config, loaded.seed) == (classifier.task, classifier.config, classifier.seed)
    assert loaded.fingerprint


@every_preset
def test_a_model_saved_twice_has_the_same_files(fitted, tasks, tmp_path, preset):
    classifier = fitted(preset, tasks["refusal"])
    classifier.save(tmp_path / "one")
    demur.load(tmp_path / "one").save(tmp_path / "two")
    for file in ("config.json", "vocabulary.json", "rules.json"):
        if (tmp_path / "one" / file).exists():
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    names = [{path.name for path in (tmp_path / folder).rglob("*")} for folder in ("one", "two")]
    assert names[0] == names[1]


@every_preset
@every_task
def test_a_saved_folder_has_labels_and_a_card_and_no_pickle(fitted, tasks, tmp_path, preset, name):
    task, folder = tasks[name], tmp_path / "model"
    fitted(preset, task).save(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {str(number): label for number, label in enumerate(task.labels)}
    assert config["label2id"] == {label: number for number, label in enumerate(task.labels)}
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n")
    assert all(f"`{label}`" in card for label in task.labels)
    for path in folder.rglob("*"):
        assert path.suffix not in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib")
        if path.is_file():
            assert path.read_bytes()[:2] not in PICKLES
            inside = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
            assert not [member for member in inside if not member.endswith((".json", ".npy", ".npz"))]


@pytest.mark.parametrize("preset", TRAINED)
@every_task
def test_the_same_seed_gives_the_same_probabilities(new_classifier, fitted, labelled, tasks, preset, name):
    task = tasks[name]
    rows = labelled(task)
    again = new_classifier(preset, task).fit(rows)
    np.testing.assert_array_equal(again.predict_proba(rows), fitted(preset, task).predict_proba(rows))


@pytest.mark.parametrize("preset", [name for name, (family, _) in list_presets().items() if family == "classical"])
@every_task
def test_it_learns_what_words_tell(fitted, labelled, tasks, preset, name):
    task = tasks[name]
    rows = labelled(task)
    assert np.mean(fitted(preset, task).predict(rows).class_ids == rows.targets(task)) > 0.9


@pytest.mark.parametrize("preset", TRAINED)
def test_one_class_only_is_refused(new_classifier, labelled, tasks, preset):
    task = tasks["refusal"]
    rows = labelled(task, n=9, labels=["soft_refusal"])
    with pytest.raises(LabelError, match=r"one class only \('soft_refusal', n=9\)"):
        new_classifier(preset, task).fit(rows)


def test_rules_learn_nothing_so_one_class_will_do(new_classifier, labelled, tasks):
    task = tasks["refusal"]
    rows = labelled(task, n=9, labels=["soft_refusal"])
    assert len(new_classifier("rules", task).fit(rows).predict(rows)) == 9


@pytest.mark.parametrize("preset", CLOSED)
@pytest.mark.parametrize("name", ["refusal", "tone"])
def test_a_class_without_a_training_row_gets_no_probability(new_classifier, labelled, tasks, preset, name):
    task = tasks[name]
    missing = 1
    labels = [label for number, label in enumerate(task.labels) if number != missing]
    classifier = new_classifier(preset, task).fit(labelled(task, n=40, labels=labels))
    found = classifier.predict_proba(labelled(task))
    assert (found[:, missing] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("preset", TRAINED)
@pytest.mark.parametrize("rare", [1, 2])
def test_a_class_of_one_or_two_rows_is_no_obstacle(new_classifier, labelled, tasks, preset, rare):
    task = tasks["refusal"]
    rows = Records.concat(
        [labelled(task, n=30, labels=task.labels[:2]), labelled(task, n=rare, labels=task.labels[2:])]
    )
    found = new_classifier(preset, task).fit(rows).predict_proba(rows)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("preset", TRAINED)
def test_rows_without_a_label_are_not_learned_from(new_classifier, fitted, labelled, tasks, preset):
    task = tasks["refusal"]
    rows = labelled(task)
    more = Records.concat([rows, Records(pl.DataFrame({"prompt": ["x"] * 9, "response": ["bread"] * 9}))])
    again = new_classifier(preset, task).fit(more)
    np.testing.assert_array_equal(again.predict_proba(rows), fitted(preset, task).predict_proba(rows))


@pytest.mark.parametrize("preset", PRESETS)
def test_named_features_are_names_and_finite_weights_or_none(fitted, tasks, preset):
    found = fitted(preset, tasks["refusal"]).top_features(5)
    assert found is None or all(
        isinstance(name, str) and np.isfinite(weight) for listed in found.values() for name, weight in listed
    )


@pytest.mark.slow
@pytest.mark.parametrize("preset", [name for name, (family, _) in list_presets().items() if family == "embedding"])
def test_the_embedded_encoder_learns_saves_and_loads(labelled, tasks, tmp_path, preset):
    from demur.config import parse_settings
    from demur.models import find_preset

    family, settings = find_preset(preset)
    task = tasks["refusal"]
    rows = labelled(task)
    classifier = family(task, parse_settings(family.config_type, settings)).fit(rows)
    classifier.save(tmp_path / "model")
    np.testing.assert_array_equal(
        demur.load(tmp_path / "model").predict_proba(rows), classifier.predict_proba(rows)
    )
    assert np.mean(classifier.predict(rows).class_ids == rows.targets(task)) > 0.9
