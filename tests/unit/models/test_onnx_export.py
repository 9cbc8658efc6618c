"""Exports agree with torch, int8 passes a gate or is refused with the figure, and the folder stays whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from demur.data import Records
from demur.errors import ArtifactError, EmptyDataError
from demur.models import _onnx_export as module
from demur.models import export_onnx, load, read_manifest
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.tasks import REFUSAL

Make = Callable[[str], Path]
ANSWERS = {"no_refusal": "yes , here is how", "hard_refusal": "sorry , no .", "soft_refusal": "rather tea , but"}


def rows(count: int) -> Records:
    listed = [
        {"prompt": "how to make bread ?", "response": text + " a little" * (number % 6), "refusal": label}
        for number in range(count)
        for label, text in [list(ANSWERS.items())[number % 3]]
    ]
    return Records.from_rows(listed)


def fitted(folder: Path, head: str = "mean") -> TransformerClassifier:
    train = {"epochs": 4, "batch_size": 8, "learning_rate": 0.01}
    config = TransformerConfig(model=str(folder), max_tokens=32, prompt_tokens=12, head=head, train=train)
    return TransformerClassifier(REFUSAL, config).fit(rows(24))


@pytest.fixture(scope="module")
def exported(
    make_checkpoint: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TransformerClassifier, Path]:
    classifier, folder = fitted(make_checkpoint("bert")), tmp_path_factory.mktemp("exported") / "model"
    export_onnx(classifier, folder, rows(30))
    return classifier, folder


@pytest.fixture
def same_graph(exported: tuple[TransformerClassifier, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the graph already exported, to test what comes after the slow exporter."""
    graph = (exported[1] / "onnx" / "model.onnx").read_bytes()
    monkeypatch.setattr(module, "write_graph", lambda classifier, path: path.write_bytes(graph))


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("bert", "transformers"),
        ("mpnet", "cls_mean"),
        pytest.param("roberta", "mean", marks=pytest.mark.slow),
        pytest.param("distilbert", "mean", marks=pytest.mark.slow),
        pytest.param("modernbert", "mean", marks=pytest.mark.slow),
        pytest.param("modernbert", "transformers", marks=pytest.mark.slow),
        ("deberta-v2", "mean"),
        pytest.param("xlm-roberta", "transformers", marks=pytest.mark.slow),
        pytest.param("albert", "mean", marks=pytest.mark.slow),
    ],
)
def test_every_architecture_keeps_its_probabilities(
    make_checkpoint: Make, tmp_path: Path, architecture: str, head: str
) -> None:
    classifier = fitted(make_checkpoint(architecture), head)
    report = export_onnx(classifier, tmp_path / "model", rows(30))
    assert report.max_difference <= 1e-4
    given = load(tmp_path / "model", runtime="onnx-fp32").predict_proba(rows(12))
    np.testing.assert_allclose(given, classifier.predict_proba(rows(12)), atol=1e-4)


def test_int8_is_let_through_and_keeps_labels(exported: tuple[TransformerClassifier, Path]) -> None:
    classifier, folder = exported
    found = json.loads((folder / "onnx" / "onnx.json").read_text())
    assert found["default"] == "int8"
    assert found["int8"]["agreement"] >= 0.995
    assert found["int8"]["rows"] == 30
    assert load(folder, runtime="onnx").predict(rows(12)).labels == classifier.predict(rows(12)).labels


def test_the_manifest_lists_the_export(exported: tuple[TransformerClassifier, Path]) -> None:
    files = read_manifest(exported[1])["files"]
    assert {"onnx/model.onnx", "onnx/model_int8.onnx", "onnx/onnx.json", "model.safetensors"} <= set(files)


def test_the_native_model_still_loads(exported: tuple[TransformerClassifier, Path]) -> None:
    classifier, folder = exported
    np.testing.assert_allclose(load(folder).predict_proba(rows(3)), classifier.predict_proba(rows(3)), atol=1e-6)


@pytest.mark.usefixtures("same_graph")
def test_int8_that_fails_the_gate_is_refused_with_the_figure(
    exported: tuple[TransformerClassifier, Path], tmp_path: Path
) -> None:
    report = export_onnx(exported[0], tmp_path / "model", rows(30), min_agreement=1.01)
    assert report.recipe is None
    assert report.reason is not None
    assert "of the labels of 30 rows, wanted 101.00%" in report.reason
    found = json.loads((tmp_path / "model" / "onnx" / "onnx.json").read_text())
    assert (found["default"], found["int8"]["reason"]) == ("fp32", report.reason)
    assert not (tmp_path / "model" / "onnx" / "model_int8.onnx").exists()


@pytest.mark.usefixtures("same_graph")
def test_int8_that_leaves_most_rows_to_fp32_is_refused(
    exported: tuple[TransformerClassifier, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "leads", lambda probabilities, sizes: np.zeros(len(probabilities)))
    report = export_onnx(exported[0], tmp_path / "model", rows(30))
    assert (report.recipe, report.rechecked) == (None, 1.0)
    assert "leaves 100.0% to fp32, at most 25%" in str(report.reason)


@pytest.mark.usefixtures("same_graph")
def test_an_export_that_differs_from_torch_is_refused(
    exported: tuple[TransformerClassifier, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FP32_TOLERANCE", -1.0)
    with pytest.raises(ArtifactError, match=r"differs from torch by .* use the torch model"):
        export_onnx(exported[0], tmp_path / "model", rows(6))
    assert not (tmp_path / "model" / "onnx").exists()
    load(tmp_path / "model")


def test_exporting_into_another_models_folder_is_refused(
    exported: tuple[TransformerClassifier, Path], make_checkpoint: Make
) -> None:
    other = fitted(make_checkpoint("bert"), "transformers")
    with pytest.raises(ArtifactError, match="is not the one to export"):
        export_onnx(other, exported[1], rows(6))


def test_no_calibration_rows_are_refused(exported: tuple[TransformerClassifier, Path], tmp_path: Path) -> None:
    with pytest.raises(EmptyDataError, match=r"no calibration record.*pass some training rows"):
        export_onnx(exported[0], tmp_path / "model", rows(3).take([]))


@pytest.mark.usefixtures("same_graph")
def test_exporting_again_replaces_the_export(exported: tuple[TransformerClassifier, Path], tmp_path: Path) -> None:
    classifier, folder = exported[0], tmp_path / "model"
    export_onnx(classifier, folder, rows(12), min_agreement=1.01)
    export_onnx(classifier, folder, rows(12))
    assert json.loads((folder / "onnx" / "onnx.json").read_text())["default"] == "int8"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_exporting_is_silent(
    exported: tuple[TransformerClassifier, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export_onnx(exported[0], tmp_path / "model", rows(6))
    assert capfd.readouterr() == ("", "")
