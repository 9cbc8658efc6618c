"""Making the ``onnx/`` folder of a saved classifier: export, int8 quantisation, and the gates before use.

Running it is left to ``_onnx``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.errors import ArtifactError, EmptyDataError, require
from demur.models._artifact import TOLERANCE, add_folder, library_versions, probe_records, read_manifest
from demur.models._onnx import FILES, FOLDER, FP32_TOLERANCE, SETTINGS, OnnxRunner
from demur.models._onnx_int8 import RECIPES, has_products, measure_ranges, quantise, quiet_export
from demur.models._several import SeveralTasks, count_classes, leads, likeliest
from demur.paths import write_json
from demur.tasks import Task
from demur.training import RowEncoder, TokenRows

if TYPE_CHECKING:
    import torch
    from torch import nn

FORMAT = 1
OPSET = 23
"""The first with an Attention operator, for which ONNX Runtime has one fused kernel."""
TRACED_OPSET = 17
"""What the tracing exporter, used for recurrent networks, writes at most without warning."""
MIN_AGREEMENT = 0.995
"""Least share of equal int8 and fp32 labels; below it the int8 model is refused."""
MAX_RECHECKED = 0.25
"""Most rows that int8 may leave to fp32; beyond it hardly any time is won."""
MARGIN_QUANTILE = 0.98
"""Share of the calibration rows whose probabilities int8 moves by less than half the margin."""
RANGE_ROWS = 64
"""Calibration rows that the ranges of activations are measured on."""


class TokenClassifier(Protocol):
    """What can be exported: a classifier whose module turns token ids into logits."""

    @property
    def module(self) -> nn.Module:
        """Gives ``logits`` ``(n, k)`` of the tensors that ``input_names`` names."""
        ...

    @property
    def row_encoder(self) -> RowEncoder:
        """Turns texts into token ids."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts it reads."""
        ...

    @property
    def pad_id(self) -> int:
        """The token id that fills short rows."""
        ...

    def input_names(self) -> tuple[str, ...]:
        """The tensors the module takes."""
        ...

    def raw_proba(self, records: Records) -> NDArray[np.float64]:
        """Class probabilities ``(n, k)``, not calibrated."""
        ...

    def save(self, folder: Path) -> None:
        """Write the classifier as a folder."""
        ...


@dataclass(frozen=True)
class OnnxReport:
    """What an export came to."""

    rows: int
    """Calibration rows behind the figures."""
    max_difference: float
    """Largest difference of a probability, fp32 ONNX against torch."""
    agreement: float
    """Share of equal labels, int8 (close calls left to fp32) against fp32; of the best recipe where refused."""
    margin: float
    """Lead of the likeliest class below which int8 leaves a row to fp32."""
    rechecked: float
    """Share of the rows that it leaves to fp32."""
    recipe: str | None
    """The int8 recipe used; None where int8 was refused."""
    reason: str | None
    """Why int8 was refused."""


def export_onnx(
    classifier: TokenClassifier, folder: Path, calibration: Records, min_agreement: float = MIN_AGREEMENT
) -> OnnxReport:
    """Add ONNX models in fp32 and int8 to a saved classifier's folder.

    Parameters
    ----------
    classifier
        A fitted or loaded classifier; saved to ``folder`` first where that does not exist.
    folder
        Its folder; gains ``onnx/``, listed in the manifest.
    calibration
        Records like those to be scored, labels not needed (some hundred training rows do): int8 is let
        through when it gives at least ``min_agreement`` of them the label that fp32 gives.

    Raises
    ------
    ArtifactError
        The folder holds another model, or the ONNX model's probabilities differ from torch's.
    EmptyDataError
        There is no calibration record.
    StorageError
        The disk is full or not writable.
    """
    for library in ("torch", "onnx", "onnxscript", "onnxruntime"):
        require(library, extra="torch")
    if not len(calibration):
        raise EmptyDataError("there is no calibration record to check the export on; pass some training rows")
    folder = Path(folder)
    if not folder.exists():
        classifier.save(folder)
    _check_same_model(classifier, folder)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.onnx.", dir=folder.parent) as name:
        work = Path(name) / FOLDER
        work.mkdir()
        write_graph(classifier, work / FILES["fp32"])
        report, probe = _pass_gates(classifier, work, calibration, min_agreement)
        settings = {
            "format": FORMAT,
            "opset": _read_opset(work / FILES["fp32"]),
            "fields": list(classifier.fields),
            "pad_id": classifier.pad_id,
            "tasks": [task.model_dump(mode="json") for task in _tasks(classifier)],
            "default": "int8" if report.recipe else "fp32",
            "fp32": {"max_difference": report.max_difference, "rows": report.rows},
            "int8": {"agreement": report.agreement, "rows": report.rows, "recipe": report.recipe}
            | {
                "margin": report.margin,
                "rechecked": report.rechecked,
                "reason": report.reason,
                "wanted": min_agreement,
                "probe": probe,
            },
            "versions": library_versions(),
        }
        write_json(work / SETTINGS, settings)
        add_folder(folder, FOLDER, work)
    return report


def _check_same_model(classifier: TokenClassifier, folder: Path) -> None:
    expected = np.array(read_manifest(folder)["probe"])
    given = classifier.raw_proba(probe_records())
    if given.shape != expected.shape or not np.allclose(given, expected, rtol=0, atol=TOLERANCE):
        raise ArtifactError(
            f"the model saved in {folder} is not the one to export (its probabilities differ); "
            "save the classifier there first, or give its own folder"
        )


def write_graph(classifier: TokenClassifier, path: Path) -> None:
    """Export a classifier's module to one ONNX file with free batch and sequence axes."""
    import onnx
    import torch

    module = classifier.module.eval()
    device = next(module.parameters()).device
    sample = {name: torch.ones(2, 8, dtype=torch.long, device=device) for name in classifier.input_names()}
    with quiet_export():
        if any(isinstance(part, torch.nn.LSTM) for part in module.modules()):
            _trace_graph(module, sample, path)
            return
        batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
        program = torch.onnx.export(
            module,
            (),
            kwargs=sample,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes={name: {0: batch, 1: sequence} for name in sample},
            input_names=list(sample),
            output_names=["logits"],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    # The exporter's notes on inner shapes contradict the quantiser, which turns Gemm into MatMul.
    del graph.graph.value_info[:]
    onnx.save(graph, str(path))


def _trace_graph(module: nn.Module, sample: dict[str, torch.Tensor], path: Path) -> None:
    """Export by tracing: torch.export unrolls an LSTM over the sample's length, tracing keeps it one operator."""
    import torch

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner(**dict(zip(sample, tensors, strict=True)))["logits"]
            return logits

    torch.onnx.export(
        Positional().eval(),
        tuple(sample.values()),
        str(path),
        dynamo=False,
        opset_version=TRACED_OPSET,
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in sample},
        input_names=list(sample),
        output_names=["logits"],
    )


def _read_opset(path: Path) -> int:
    import onnx

    return int(max(entry.version for entry in onnx.load(str(path)).opset_import if not entry.domain))


def _pass_gates(
    classifier: TokenClassifier, work: Path, calibration: Records, min_agreement: float
) -> tuple[OnnxReport, list[list[float]] | None]:
    """Check fp32 against torch, then find the first int8 recipe that keeps enough labels."""
    rows, probes = (_encode(classifier, records) for records in (calibration, probe_records()))
    sizes = count_classes(_tasks(classifier))
    fp32 = OnnxRunner(work / FILES["fp32"], sizes=sizes).probabilities(rows, classifier.pad_id)
    judge = classifier.joint_proba if isinstance(classifier, SeveralTasks) else classifier.raw_proba
    difference = float(np.abs(fp32 - judge(calibration)).max())
    if not difference <= FP32_TOLERANCE:
        raise ArtifactError(
            f"the ONNX export differs from torch by {difference:.2g} in a probability (at most "
            f"{FP32_TOLERANCE:g} is allowed); use the torch model, and report the architecture"
        )
    path = work / FILES["int8"]
    sample = np.linspace(0, len(rows) - 1, min(len(rows), RANGE_ROWS), dtype=np.int64)
    if not has_products(work / FILES["fp32"]):
        reason = "the network has no product with a weight matrix that int8 would speed up"
        return OnnxReport(len(rows), difference, 1.0, 0.0, 0.0, None, reason), None
    ranges = measure_ranges(work / FILES["fp32"], rows.take(sample), classifier.pad_id)
    report = OnnxReport(len(rows), difference, 0.0, 0.0, 1.0, None, None)
    for recipe in RECIPES:
        quantise(work / FILES["fp32"], path, recipe, ranges)
        runner = OnnxRunner(path, sizes=sizes)
        int8 = runner.probabilities(rows, classifier.pad_id)
        found = _compare(fp32, int8, report, sizes)
        if found.agreement >= min_agreement and found.rechecked <= MAX_RECHECKED:
            own = sizes[0] if sizes else None
            probe = runner.probabilities(probes, classifier.pad_id)[:, :own].tolist()
            return replace(found, recipe=recipe.name), probe
        report = max(report, found, key=lambda one: one.agreement)
        path.unlink()
    reason = (
        f"int8 keeps {report.agreement:.2%} of the labels of {len(rows)} rows, wanted {min_agreement:.2%}, "
        f"and leaves {report.rechecked:.1%} to fp32, at most {MAX_RECHECKED:.0%}"
    )
    return replace(report, reason=reason), None


def _tasks(classifier: TokenClassifier) -> tuple[Task, ...]:
    """The tasks of a classifier that answers several; none for any other."""
    return classifier.tasks if isinstance(classifier, SeveralTasks) else ()


def _compare(
    fp32: NDArray[np.float64], int8: NDArray[np.float64], report: OnnxReport, sizes: Sequence[int]
) -> OnnxReport:
    """Set the margin for close calls, and what agreement (on every task) and recheck come to with it."""
    moved = np.abs(int8 - fp32).max(axis=1)  # (n,)
    # A label changes only where the lead is under twice the move.
    margin = float(2 * np.quantile(moved, MARGIN_QUANTILE))
    close = leads(int8, sizes) < margin
    equal = close | (likeliest(int8, sizes) == likeliest(fp32, sizes)).all(axis=1)
    return replace(report, agreement=float(equal.mean()), margin=margin, rechecked=float(close.mean()))


def _encode(classifier: TokenClassifier, records: Records) -> TokenRows:
    fields = classifier.fields
    return classifier.row_encoder.encode([records.texts(field) for field in fields], fields)
