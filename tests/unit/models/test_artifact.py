"""Tests of saved classifiers: nothing half-written, nothing altered, nothing foreign."""

import errno
import json
import shutil

import numpy as np
import pytest

import demur
from demur.errors import ArtifactError, RegistryError, StorageError, UsageError
from demur.models import Calibration, library_versions, read_manifest
from demur.models._artifact import FORMAT, MANIFEST, add_folder, probe_records, save_classifier
from demur.models.classical import ClassicalClassifier
from demur.paths import hash_file

FILES = ("config.json", "README.md", "vocabulary.json", "features.skops", "model.skops")


def edit_manifest(folder, **changes):
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(
        json.dumps({key: value for key, value in manifest.items() if value is not None})
    )


def test_the_manifest_says_what_was_saved(saved, fitted, tasks):
    manifest = read_manifest(saved)
    classifier = fitted("tfidf_logreg", tasks["refusal"])
    assert manifest["format"] == FORMAT
    assert manifest["family"] == "classical"
    assert manifest["task"]["labels"] == list(tasks["refusal"].labels)
    assert manifest["config"] == classifier.config.model_dump(mode="json")
    assert set(manifest["files"]) == set(FILES)
    np.testing.assert_array_equal(manifest["probe"], classifier.predict_proba(probe_records()))


def test_further_facts_are_kept_in_the_manifest(fitted, tasks, tmp_path):
    save_classifier(fitted("tfidf_logreg", tasks["refusal"]), tmp_path / "m", {"run": "starter"})
    assert read_manifest(tmp_path / "m")["info"] == {"run": "starter"}


def test_versions_of_what_can_change_an_answer_are_kept(saved):
    versions = read_manifest(saved)["versions"]
    assert versions == library_versions()
    assert {"python", "demur", "numpy", "scikit-learn"} <= set(versions)


def test_saving_again_replaces_the_model_and_leaves_nothing_beside_it(saved, fitted, tasks):
    (saved / "left-over").write_text("x")
    fitted("tfidf_nb", tasks["refusal"]).save(saved)
    assert demur.load(saved).config.head == "nb"
    assert not (saved / "left-over").exists()
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_model_is_saved_into_an_empty_folder(fitted, tasks, tmp_path):
    (tmp_path / "empty").mkdir()
    fitted("rules", tasks["refusal"]).save(tmp_path / "empty")
    assert read_manifest(tmp_path / "empty")["family"] == "rules"


def test_a_folder_of_something_else_is_never_replaced(fitted, tasks, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis exists and is no saved model \(no demur\.json in it\)"):
        fitted("rules", tasks["refusal"]).save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="file exists and is no saved model"):
        fitted("rules", tasks["refusal"]).save(tmp_path / "file")


def test_a_failed_save_leaves_the_old_model_and_no_rest(saved, fitted, tasks, monkeypatch):
    before = read_manifest(saved)

    def fail(self, folder):
        (folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ClassicalClassifier, "_write", fail)
    with pytest.raises(StorageError, match="no disk space left while saving the model"):
        fitted("tfidf_logreg", tasks["refusal"]).save(saved)
    assert read_manifest(saved) == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_parent_that_cannot_be_made_is_one_sentence(fitted, tasks, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="while saving the model to"):
        fitted("rules", tasks["refusal"]).save(tmp_path / "file" / "model")


def test_a_folder_without_a_manifest_is_no_model(tmp_path):
    with pytest.raises(ArtifactError, match=r"is not a saved demur model \(no demur\.json in it\)"):
        demur.load(tmp_path)


def test_a_folder_that_is_not_there_is_no_model(tmp_path):
    with pytest.raises(ArtifactError, match="gone is not a saved demur model"):
        demur.load(tmp_path / "gone")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=f"lacks its file '{name}'; restore it or train again"):
        demur.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_named(saved, name):
    data = bytearray((saved / name).read_bytes())
    data[len(data) // 2] ^= 1
    (saved / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"the file '{name}' of the model in .* was altered after saving"):
        demur.load(saved)


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_truncated_manifest_is_damaged(saved, share):
    text = (saved / MANIFEST).read_text()
    (saved / MANIFEST).write_text(text[: int(len(text) * share)])
    with pytest.raises(
        ArtifactError, match=r"demur\.json is damaged .*; save the model again or restore the file"
    ):
        demur.load(saved)


@pytest.mark.parametrize("data", [b"[1, 2]", b"null", b'"x"', b"\xff\xfe\x00"])
def test_a_manifest_of_another_shape_is_damaged(saved, data):
    (saved / MANIFEST).write_bytes(data)
    with pytest.raises(ArtifactError, match=r"demur\.json is damaged"):
        demur.load(saved)


@pytest.mark.parametrize(
    "key", ["format", "family", "task", "config", "seed", "best_params", "versions", "files", "probe"]
)
def test_a_manifest_without_a_key_is_damaged_and_the_key_named(saved, key):
    edit_manifest(saved, **{key: None})
    with pytest.raises(ArtifactError, match=rf"demur\.json is damaged \(no usable {key}\)"):
        demur.load(saved)


@pytest.mark.parametrize("files", ["config.json", ["config.json"], 3])
def test_a_manifest_whose_files_are_no_mapping_is_damaged(saved, files):
    edit_manifest(saved, files=files)
    with pytest.raises(ArtifactError, match=r"damaged \(no usable files\)"):
        demur.load(saved)


@pytest.mark.parametrize("name", ["../other", "/etc/hostname", "onnx/../../x", "c:\\x", ""])
def test_a_manifest_that_names_files_elsewhere_is_refused_before_they_are_looked_at(saved, name):
    edit_manifest(saved, files={name: "0" * 64})
    with pytest.raises(ArtifactError, match="outside of it; do not use that model"):
        demur.load(saved)


def test_a_file_that_the_manifest_leaves_out_is_not_loaded_unchecked(saved):
    files = read_manifest(saved)["files"]
    edit_manifest(saved, files={name: found for name, found in files.items() if name != "vocabulary.json"})
    with pytest.raises(ArtifactError, match=r"has the file 'vocabulary\.json', which was not saved with it"):
        demur.load(saved)


def test_a_file_put_beside_the_model_is_refused(saved):
    (saved / "adapter_config.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"'adapter_config\.json', which was not saved with it; take it out"):
        demur.load(saved)


def test_a_file_put_into_a_folder_of_the_model_is_refused(saved, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "extra.bin").write_text("x")
    add_folder(saved, "onnx", tmp_path / "made")
    (saved / "onnx" / "model.onnx").write_text("x")
    with pytest.raises(ArtifactError, match=r"'onnx/model\.onnx', which was not saved with it"):
        demur.load(saved)


@pytest.mark.parametrize("name", ["adapter_config.json", "members/0/adapter_model.safetensors", "own.py", "x.pkl"])
def test_a_file_that_no_family_writes_is_refused_whatever_its_hash(saved, name):
    (saved / name).parent.mkdir(parents=True, exist_ok=True)
    (saved / name).write_text("{}")
    edit_manifest(saved, files=read_files(saved) | {name: hash_file(saved / name)})
    with pytest.raises(
        ArtifactError, match=rf"has the file '{name}', of a kind that demur never saves; do not use"
    ):
        demur.load(saved)


@pytest.mark.parametrize("head", ["mean", "transformers"])
def test_a_saved_model_cannot_ask_for_a_kernel_of_the_hub(
    fitted_transformer, tmp_path, monkeypatch, labelled, head
):
    from transformers import modeling_utils

    def fail(*given, **settings):
        raise AssertionError("a kernel was asked for")

    monkeypatch.setattr(modeling_utils, "lazy_import_flash_attention", fail)
    classifier = fitted_transformer(head)
    classifier.save(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config |= {"attn_implementation": "kernels-community/flash-attn2", "_attn_implementation": "somebody/kernel"}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    edit_manifest(tmp_path / "m", files=read_files(tmp_path / "m"))
    rows = labelled(classifier.task, n=6)
    np.testing.assert_allclose(
        demur.load(tmp_path / "m").predict_proba(rows), classifier.predict_proba(rows), atol=1e-6
    )


@pytest.fixture
def fitted_transformer(make_checkpoint, labelled, tasks):
    """Maker of a tiny fine-tuned encoder with a head of that kind."""

    def make(head):
        from demur.models.transformer import TransformerClassifier, TransformerConfig

        train = {"epochs": 1, "batch_size": 8, "device": "cpu"}
        config = TransformerConfig(
            model=str(make_checkpoint("bert")), head=head, max_tokens=32, prompt_tokens=12, train=train
        )
        return TransformerClassifier(tasks["refusal"], config, 0).fit(labelled(tasks["refusal"], n=12))

    return make


def test_what_no_loader_reads_may_lie_beside_the_model(saved):
    for name in (".gitattributes", ".git/config", "notes/today.txt"):
        (saved / name).parent.mkdir(exist_ok=True)
        (saved / name).write_text("x")
    assert demur.load(saved).family == "classical"


def test_a_newer_format_asks_for_an_upgrade_whatever_else_it_holds(saved):
    (saved / MANIFEST).write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(
        ArtifactError, match=rf"has format {FORMAT + 1}, this demur reads up to {FORMAT}; upgrade demur"
    ):
        demur.load(saved)


def test_a_family_nobody_registered_is_named(saved):
    edit_manifest(saved, family="clasical")
    with pytest.raises(RegistryError, match=r"no classifier is called 'clasical' .*did you mean 'classical'"):
        demur.load(saved)


def test_settings_of_another_demur_are_refused_as_an_artefact(saved):
    edit_manifest(saved, config={"headd": "nb"})
    with pytest.raises(ArtifactError, match=r"unknown key 'headd'.*load the model with the demur that saved it"):
        demur.load(saved)


def test_other_probabilities_than_when_saved_are_refused(saved, monkeypatch):
    original = ClassicalClassifier._predict
    monkeypatch.setattr(
        ClassicalClassifier, "_predict", lambda self, records: original(self, records)[:, [1, 0, 2]]
    )
    with pytest.raises(ArtifactError, match=r"gives other probabilities than when it was saved \(under python "):
        demur.load(saved)


def test_settings_altered_in_the_manifest_show_in_the_probabilities(saved):
    manifest = read_manifest(saved)
    edit_manifest(saved, config=manifest["config"] | {"prompt_weight": 5.0})
    with pytest.raises(ArtifactError, match="gives other probabilities"):
        demur.load(saved)


@pytest.mark.parametrize("probe", [[[0.5, 0.5]], [], [[None]]])
def test_a_probe_of_another_shape_is_refused(saved, probe):
    edit_manifest(saved, probe=probe)
    with pytest.raises(ArtifactError, match="gives other probabilities"):
        demur.load(saved)


@pytest.mark.parametrize("probe", ["abc", [["x", "y", "z"]] * 5, [[0.5], [0.5, 0.5]], [[{}]]])
def test_a_probe_without_numbers_is_damaged(saved, probe):
    edit_manifest(saved, probe=probe)
    with pytest.raises(ArtifactError, match=r"demur\.json is damaged \(no usable probe\)"):
        demur.load(saved)


def test_the_last_bits_may_differ_between_processors(saved):
    manifest = read_manifest(saved)
    edit_manifest(saved, probe=(np.array(manifest["probe"]) + 1e-7).tolist())
    assert demur.load(saved).family == "classical"


def test_the_fingerprint_tells_models_apart(saved, fitted, tasks, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    fitted("tfidf_nb", tasks["refusal"]).save(tmp_path / "other")
    assert demur.load(saved).fingerprint == demur.load(tmp_path / "copy").fingerprint
    assert demur.load(saved).fingerprint != demur.load(tmp_path / "other").fingerprint


def test_an_added_folder_is_hashed_and_checked(saved, tmp_path):
    for text in ("first", "second"):
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "extra.bin").write_text(text)
        add_folder(saved, "onnx", tmp_path / "made")
    assert read_manifest(saved)["files"]["onnx/extra.bin"] == hash_file(saved / "onnx" / "extra.bin")
    assert (saved / "onnx" / "extra.bin").read_text() == "second"
    assert not (tmp_path / "made").exists()
    (saved / "onnx" / "extra.bin").write_text("third")
    with pytest.raises(ArtifactError, match=r"the file 'onnx/extra\.bin' .* was altered"):
        demur.load(saved)


def test_what_makes_a_classifier_ready_travels_with_it(ready, labelled, tasks):
    folder, classifier = ready
    loaded, rows = demur.load(folder), labelled(tasks["refusal"], n=30)
    for name in ("calibration", "operating", "conformal"):
        assert getattr(loaded, name) == getattr(classifier, name) is not None
        assert f"{name}.json" in read_manifest(folder)["files"]
    given, found = classifier.predict(rows), loaded.predict(rows)
    np.testing.assert_array_equal(found.probabilities, given.probabilities)
    np.testing.assert_array_equal(found.flagged("fpr_10"), given.flagged("fpr_10"))
    np.testing.assert_array_equal(found.unsure, given.unsure)


def test_the_probe_holds_raw_and_calibrated_probabilities(ready):
    folder, classifier = ready
    manifest, probe = read_manifest(folder), probe_records()
    np.testing.assert_array_equal(manifest["probe"], classifier.raw_proba(probe))
    np.testing.assert_array_equal(manifest["calibrated_probe"], classifier.predict_proba(probe))


def test_a_classifier_that_was_not_made_ready_has_none_of_it(saved):
    loaded = demur.load(saved)
    assert (loaded.calibration, loaded.operating, loaded.conformal) == (None, None, None)
    assert "calibrated_probe" not in read_manifest(saved)


@pytest.mark.parametrize("name", ["calibration", "operating", "conformal"])
def test_an_altered_threshold_or_map_is_named(ready, name):
    folder, _ = ready
    path = folder / f"{name}.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(ArtifactError, match=rf"'{name}.json' .* was altered after saving"):
        demur.load(folder)


@pytest.mark.parametrize("name", ["calibration", "operating", "conformal"])
@pytest.mark.parametrize("text", ["{}", "[", "[]"])
def test_a_damaged_map_with_a_right_hash_is_refused_in_one_sentence(ready, name, text):
    folder, _ = ready
    (folder / f"{name}.json").write_text(text)
    edit_manifest(folder, files=read_files(folder))
    with pytest.raises(ArtifactError, match=rf"{name}.json cannot be used"):
        demur.load(folder)


def read_files(folder):
    files = json.loads((folder / MANIFEST).read_text())["files"]
    return {name: hash_file(folder / name) for name in files}


def test_a_calibration_that_maps_otherwise_than_when_saved_is_refused(ready, monkeypatch):
    folder, _ = ready
    monkeypatch.setattr(Calibration, "apply", lambda self, probabilities: probabilities)
    with pytest.raises(ArtifactError, match=r"calibration of the model .* gives other probabilities"):
        demur.load(folder)


def test_a_missing_calibrated_probe_is_damage(ready):
    folder, _ = ready
    edit_manifest(folder, calibrated_probe=None)
    with pytest.raises(ArtifactError, match="no usable probe"):
        demur.load(folder)
