"""The neural family, all five architectures: learns, saves, loads, resumes, and gives the same answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from demur.data import Records
from demur.errors import ArtifactError, UsageError
from demur.models import export_onnx, list_presets, load
from demur.models.neural import NeuralClassifier
from demur.tasks import PROMPT_RISK, REFUSAL

ARCHITECTURES = ("cnn", "lstm", "bilstm", "transformer", "hybrid")
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@every_architecture
def test_a_loaded_network_gives_the_same_probabilities(fit, rows, tmp_path, architecture):
    classifier = fit(architecture)
    classifier.save(tmp_path / "model")
    np.testing.assert_array_equal(
        load(tmp_path / "model").predict_proba(rows(9)), classifier.predict_proba(rows(9))
    )


@every_architecture
def test_it_learns_what_the_answers_tell(fit, rows, architecture):
    classifier = fit(architecture, train={"epochs": 15, "learning_rate": 0.02})
    assert classifier.predict(rows(12)).labels == rows(12).frame["refusal"].to_list()


@every_architecture
def test_a_row_is_judged_alike_alone_and_among_long_ones(fit, rows, architecture):
    classifier = fit(architecture)
    together = Records.concat([rows(6), rows(6, longest=40)])
    alone = [classifier.predict_proba(together.take([number]))[0] for number in range(12)]
    np.testing.assert_allclose(classifier.predict_proba(together), alone, atol=1e-6)


@every_architecture
def test_the_same_seed_gives_the_same_weights_and_another_others(fit, architecture):
    one, two, other = (fit(architecture, seed).module.state_dict() for seed in (1, 1, 2))
    assert all(one[name].equal(two[name]) for name in one)
    assert not all(one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize(
    "architecture", ["cnn", "lstm", "bilstm", pytest.param("transformer", marks=pytest.mark.slow), "hybrid"]
)
def test_onnx_gives_the_probabilities_of_torch(fit, rows, tmp_path, architecture):
    classifier = fit(architecture)
    report = export_onnx(classifier, tmp_path / "model", rows(18, longest=20))
    assert report.max_difference <= 1e-5
    given = load(tmp_path / "model", runtime="onnx-fp32").predict_proba(rows(12, longest=30))
    np.testing.assert_allclose(given, classifier.predict_proba(rows(12, longest=30)), atol=1e-5)
    if architecture in ("cnn", "hybrid"):
        assert report.reason is not None
        assert "no product with a weight matrix" in report.reason
    assert json.loads((tmp_path / "model" / "onnx" / "onnx.json").read_text())["opset"] in (17, 23)


@pytest.mark.parametrize("name", ["cnn", "lstm", "bilstm", "transformer", "hybrid"])
def test_there_is_a_preset_of_each_architecture(name):
    assert list_presets()[f"neural_{name}"][0] == "neural"


def test_vectors_may_start_from_an_encoder_that_loading_does_not_need(make_checkpoint, fit, rows, tmp_path):
    import shutil

    encoder = tmp_path / "encoder"
    shutil.copytree(make_checkpoint("bert"), encoder)
    classifier = fit("cnn", embeddings="encoder", encoder=str(encoder))
    classifier.save(tmp_path / "model")
    shutil.rmtree(encoder)
    np.testing.assert_array_equal(
        load(tmp_path / "model").predict_proba(rows(3)), classifier.predict_proba(rows(3))
    )


def test_validation_rows_choose_the_epoch(small, rows):
    assert NeuralClassifier.wants_valid
    classifier = NeuralClassifier(REFUSAL, small("cnn", train={"epochs": 3})).fit(rows(24), rows(9))
    assert classifier.training is not None
    assert classifier.training.best_epoch in {1.0, 2.0, 3.0}


def test_subwords_come_from_the_training_rows_alone(small, rows):
    valid = rows(6).with_column("response", ["zebra zebra zebra zebra"] * 6)
    classifier = NeuralClassifier(REFUSAL, small("cnn")).fit(rows(24), valid)
    assert classifier.row_encoder.tokenizer.token_to_id("Ġzebra") is None
    assert classifier.row_encoder.tokenizer.token_to_id("Ġhow") is not None


def test_a_prompt_task_reads_the_prompt_alone(small):
    listed = [
        {"prompt": "tea please" if number % 2 else "a sharp knife", "prompt_risk": label}
        for number, label in enumerate(["benign", "malicious"] * 6)
    ]
    data = Records.from_rows(listed)
    classifier = NeuralClassifier(PROMPT_RISK, small("cnn")).fit(data)
    answered = data.with_column("response", ["sorry"] * len(data))
    np.testing.assert_array_equal(classifier.predict_proba(data), classifier.predict_proba(answered))
    # Nobody gave it a suspicious row.
    assert (classifier.predict_proba(data)[:, 1] == 0).all()


def test_fields_of_the_settings_override_the_task(fit, rows):
    classifier = fit("cnn", fields=["response"])
    changed = rows(6).with_column("prompt", ["word"] * 6)
    np.testing.assert_array_equal(classifier.predict_proba(rows(6)), classifier.predict_proba(changed))


def test_a_saved_folder_holds_weights_tokenizer_and_sizes_and_no_pickle(fit, tmp_path):
    fit("cnn").save(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "config.json", "demur.json", "README.md"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pth", ".pkl")) for name in names)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["cnn"]
    assert config["id2label"]["1"] == "hard_refusal"


def test_altered_weights_are_refused(fit, tmp_path):
    fit("cnn").save(tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("ab") as handle:
        handle.write(b"\0")
    with pytest.raises(ArtifactError, match=r"model\.safetensors.*was altered"):
        load(tmp_path / "model")


def test_training_is_silent(fit, capfd):
    fit("lstm")
    assert capfd.readouterr() == ("", "")


def test_predicting_before_fitting_is_refused(rows):
    with pytest.raises(UsageError, match="neither fitted nor loaded; call fit"):
        NeuralClassifier(REFUSAL).predict_proba(rows(1))
