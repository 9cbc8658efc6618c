"""Inference with ONNX Runtime: a saved classifier's ``onnx/`` folder, with neither torch nor transformers.

Rows go through one at a time, a worker thread for each core. On processors that is faster than batches
(nothing is padded and a row's activations stay in the cache), and it makes int8 answers independent of
what else is being scored: dynamic quantisation takes its scale from whatever shares the pass.

In int8, rows whose two likeliest classes lie closer together than a margin found at the export are judged
again in fp32: int8 moves probabilities a little, and only such rows can change their label by it.

Making that folder is left to ``_onnx_export``.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from demur.config import Settings, parse_settings
from demur.data import Records
from demur.errors import ArtifactError, UsageError, require
from demur.models._artifact import MANIFEST, probe_records, read_manifest, read_ready
from demur.models._base import CLASSIFIERS, BaseClassifier, Predictions, RecordsLike
from demur.models._several import count_classes, leads, predict_all, softmax
from demur.paths import hash_value
from demur.tasks import Task
from demur.training import RowEncoder, TokenRows, pad_rows

FOLDER, SETTINGS = "onnx", "onnx.json"
FILES = {"fp32": "model.onnx", "int8": "model_int8.onnx"}
Precision = Literal["fp32", "int8"]
FP32_TOLERANCE = 1e-4
"""Largest difference of a probability from the torch model's."""
INT8_TOLERANCE = 0.02
"""Largest difference of a probe's int8 probability between the machine of the export and this one."""
_SLOWER_FUSED = ["SkipLayerNormFusion", "BiasGeluFusion"]
"""Fusions whose kernels are slower than the parts they replace: 15 % of an int8 MiniLM pass in 1.31."""


class OnnxRunner:
    """One ONNX model in one session: encoded rows in, probabilities out.

    Parameters
    ----------
    path
        The model file; its inputs are some of ``input_ids``, ``attention_mask``, ``token_type_ids``.
    threads
        Rows worked on at the same time; None: the cores this process may use.
    sizes
        How many classes each task has, where it answers several; empty for one task.
    """

    def __init__(self, path: Path, threads: int | None = None, sizes: Sequence[int] = ()) -> None:
        runtime = require("onnxruntime", extra="torch")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER_FUSED
        )
        self._inputs = [node.name for node in self._session.get_inputs()]
        self.threads = threads or usable_cores()
        self.sizes = tuple(sizes)

    def probabilities(self, rows: TokenRows, pad_id: int) -> NDArray[np.float64]:
        """Class probabilities ``(n, k)`` of at least one encoded row; of several tasks side by side."""
        # Long rows first: the last ones to finish are then short, and no core waits long.
        order = np.argsort(-rows.lengths, kind="stable")

        def run(row: int) -> NDArray[np.float64]:
            padded = pad_rows(rows.take([row]), pad_id)
            given = self._session.run(None, {name: padded[name] for name in self._inputs})[0]
            return softmax(given, self.sizes)

        if self.threads == 1 or len(rows) == 1:
            parts = [run(row) for row in order]
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                parts = list(pool.map(run, order))
        stacked = np.concatenate(parts)
        result = np.empty_like(stacked)
        result[order] = stacked
        return result


class OnnxClassifier(BaseClassifier[Settings]):
    """A saved classifier run by ONNX Runtime; predicts, and cannot be trained.

    Attributes
    ----------
    precision
        ``"int8"`` or ``"fp32"``: what is running.
    report
        The export's own figures (``onnx.json``): parity, agreement, recipe.
    tasks
        The tasks it answers, its own first; more than one where the ``dual`` family was exported.
    """

    family = "onnx"
    config_type = Settings

    def __init__(
        self, folder: Path, manifest: dict[str, Any], precision: Precision | None, threads: int | None
    ) -> None:
        family = CLASSIFIERS.get(manifest["family"])
        task = parse_settings(Task, manifest["task"], f"{folder / MANIFEST}: task")
        config = parse_settings(family.config_type, manifest["config"], f"{folder / MANIFEST}: config")
        super().__init__(task, config, manifest["seed"])
        tokenizers = require("tokenizers", extra="torch")
        self.best_params = manifest["best_params"]
        self.fingerprint = hash_value(manifest)
        read_ready(self, folder, manifest)
        self.report: dict[str, Any] = json.loads((folder / FOLDER / SETTINGS).read_text(encoding="utf-8"))
        where = f"{folder / FOLDER / SETTINGS}: tasks"
        others = [parse_settings(Task, one, where) for one in self.report.get("tasks", [])[1:]]
        self.tasks: tuple[Task, ...] = (task, *others)
        self.precision: Precision = precision or self.report["default"]
        self._folder = folder
        self._threads = threads
        self._fields: tuple[str, ...] = tuple(self.report["fields"])
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._rows = RowEncoder(tokenizer, config.limits)  # type: ignore[attr-defined]
        self._fp32 = self._start("fp32")
        self._int8 = self._start("int8") if self.precision == "int8" else None

    def _start(self, precision: Precision) -> OnnxRunner:
        path = self._folder / FOLDER / FILES[precision]
        if not path.is_file():
            raise ArtifactError(
                f"the model in {self._folder} has no {precision} export "
                f"({self.report['int8']['reason']}); load it with runtime='onnx-fp32' or 'native'"
            )
        return OnnxRunner(path, self._threads, count_classes(self.tasks))

    def use_fp32(self) -> None:
        """Run the fp32 model alone from now on."""
        self.precision = "fp32"
        self._int8 = None

    def _encode(self, records: Records) -> TokenRows:
        return self._rows.encode([records.texts(field) for field in self._fields], self._fields)

    def probe(self, precision: Precision) -> NDArray[np.float64]:
        """Its own task's probabilities of the probe texts, with no close call left to fp32."""
        runner = self._int8 if precision == "int8" else self._fp32
        assert runner is not None
        found = runner.probabilities(self._encode(probe_records()), self.report["pad_id"])
        return found[:, : len(self.task.labels)]

    def predict_all(self, records: RecordsLike) -> dict[str, Predictions]:
        """Judge records on every task it answers, by task name, in one pass."""
        return predict_all(self, records)

    def joint_proba(self, records: Records) -> NDArray[np.float64]:
        """The model's own class probabilities of all tasks side by side, ``(n, Σk)``, none calibrated."""
        if not len(records):
            return np.empty((0, sum(count_classes(self.tasks))))
        margin = self.report["int8"]["margin"]
        return judge(self._encode(records), self.report["pad_id"], self._fp32, self._int8, margin)

    def _predict(self, records: Records) -> NDArray[np.floating[Any]]:
        return self.joint_proba(records)[:, : len(self.task.labels)]

    def save(self, folder: Path) -> None:
        """Not possible; copy the folder it was loaded from instead.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(f"an ONNX classifier is not saved again; copy the folder {self._folder} to {folder}")

    def _fit(self, train: Records, targets: NDArray[np.int64], valid: Records | None) -> None:
        raise UsageError("an ONNX classifier cannot be trained; train the family's own one and export it again")

    def _write(self, folder: Path) -> None:
        raise NotImplementedError

    def _read(self, folder: Path) -> None:
        raise NotImplementedError


def load_onnx(
    folder: Path, precision: Literal["auto", "fp32", "int8"] = "auto", threads: int | None = None
) -> OnnxClassifier:
    """Load the ONNX export of a saved classifier.

    fp32 must give the probabilities that the torch model gave when it was saved. int8 must give those of
    its export; where another processor's int8 arithmetic gives others, ``auto`` warns and runs fp32.

    Parameters
    ----------
    folder
        A saved classifier that :func:`demur.models.export_onnx` was called on.
    precision
        ``auto``: int8 where the export's gate let it through, else fp32.
    threads
        Rows worked on at the same time; None: the cores this process may use.

    Raises
    ------
    ArtifactError
        There is no export in the folder, a file is missing or altered, or the probabilities differ.
    MissingDependencyError
        onnxruntime or tokenizers is not installed.
    """
    manifest = read_manifest(folder)
    if f"{FOLDER}/{SETTINGS}" not in manifest["files"]:
        raise ArtifactError(
            f"the model in {folder} has no ONNX export; make one with demur.models.export_onnx, "
            "or load it with runtime='native'"
        )
    classifier = OnnxClassifier(folder, manifest, None if precision == "auto" else precision, threads)
    if _is_apart(classifier.probe("fp32"), manifest["probe"], FP32_TOLERANCE):
        raise ArtifactError(
            f"the ONNX model in {folder} gives other probabilities than the torch model did when it was saved; "
            "export it again, or load it with runtime='native'"
        )
    expected = classifier.report["int8"]["probe"]
    if classifier.precision == "int8" and _is_apart(classifier.probe("int8"), expected, INT8_TOLERANCE):
        found = (
            f"the int8 model in {folder} gives other probabilities on this processor than where it was exported"
        )
        if precision == "int8":
            raise ArtifactError(f"{found}; export it again here, or load it with runtime='onnx-fp32'")
        warnings.warn(f"{found}; running fp32 instead (export it again here for int8)", stacklevel=3)
        classifier.use_fp32()
    return classifier


def _is_apart(given: NDArray[np.float64], expected: list[list[float]], tolerance: float) -> bool:
    wanted = np.array(expected)
    return given.shape != wanted.shape or not np.allclose(given, wanted, rtol=0, atol=tolerance)


def judge(
    rows: TokenRows, pad_id: int, fp32: OnnxRunner, int8: OnnxRunner | None, margin: float
) -> NDArray[np.float64]:
    """Class probabilities ``(n, k)``: int8 where there is one, and fp32 for its close calls (of any task)."""
    if int8 is None:
        return fp32.probabilities(rows, pad_id)
    probabilities = int8.probabilities(rows, pad_id)
    close = np.flatnonzero(leads(probabilities, int8.sizes) < margin)
    if len(close):
        probabilities[close] = fp32.probabilities(rows.take(close), pad_id)
    return probabilities


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
