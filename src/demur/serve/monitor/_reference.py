"""References: the rows that windows are compared with, saved beside the model they are of or in the store.

In the model's folder they lie in ``monitor/``, of which the model's manifest names nothing: loading the model
neither reads nor refuses it, and its fingerprint stays. A model that is saved again loses it, as it should.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from demur.errors import ArtifactError, DataError, UsageError
from demur.paths import hash_file, replace_when_done, write_json
from demur.serve.monitor._frame import SCHEMA, check_frame
from demur.serve.monitor._sampler import Answered, choose_sketches
from demur.store import ReferenceRow

if TYPE_CHECKING:
    from demur.data import Records
    from demur.models import BaseClassifier

FOLDER, FORMAT = "monitor", 1


@dataclass(frozen=True)
class Reference:
    """Rows of a task as one version of its model judged them."""

    task: str
    version: str
    source: str
    """``model``, ``live`` or ``admin``."""
    frame: pl.DataFrame
    """See ``_frame.SCHEMA``."""
    facts: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def to_row(self, id: str) -> ReferenceRow:
        """As a row of the store."""
        buffer = io.BytesIO()
        self.frame.write_parquet(buffer)
        return ReferenceRow(
            id=id,
            task=self.task,
            version=self.version,
            source=self.source,
            rows=len(self.frame),
            payload=base64.b64encode(buffer.getvalue()).decode("ascii"),
            facts=self.facts,
            at=self.at,
        )

    @classmethod
    def from_row(cls, row: ReferenceRow) -> Reference:
        """Back from the store.

        Raises
        ------
        DataError
            What is stored is damaged or of another version; take a new reference.
        """
        try:
            frame = pl.read_parquet(io.BytesIO(base64.b64decode(row.payload, validate=True)))
        except (ValueError, pl.exceptions.PolarsError, OSError):
            raise DataError(f"the reference '{row.id}' is damaged; take a new reference") from None
        found = check_frame(frame, f"the reference '{row.id}'")
        return cls(row.task, row.version, row.source, found, row.facts, row.at)


def make_reference(classifier: BaseClassifier[Any], records: Records, encoder: str | None = None) -> Reference:
    """A reference of a saved model's validation rows.

    Where they are labelled, the facts hold accuracy as it was and as its probabilities alone would have it.

    Parameters
    ----------
    classifier
        Loaded from its folder.
    records
        Rows that it did not learn from, and that resemble the traffic to come.
    encoder
        As ``monitor.inputs.encoder`` has it; sketches of another cannot be compared.

    Raises
    ------
    UsageError
        The classifier was not loaded from a folder, or there is no row.
    """
    if not classifier.fingerprint:
        raise UsageError("a reference is of a saved model; save it, and load it with demur.load")
    if not len(records):
        raise UsageError("a reference of no rows compares with nothing; give the rows the model was validated on")
    from demur.data import repair_texts

    task, clean = classifier.task, repair_texts(records)
    found = classifier.predict(records)
    texts = {name: clean.frame[name].to_list() for name in ("prompt", "response")}
    points = found.operating.points if found.operating is not None else ()
    named = next((point.name for point in points if point.threshold.value is not None), None)
    truth = records.frame[task.name].to_list() if task.name in records.frame.columns else [None] * len(records)
    samples = choose_sketches(encoder).rows(
        [Answered(str(row), 0, *pair) for row, pair in enumerate(zip(*texts.values(), strict=True))]
    )
    columns: dict[str, Any] = {
        "at": [None] * len(records),
        "subject": [None] * len(records),
        "label": found.labels,
        "truth": truth,
        "probabilities": found.probabilities.tolist(),
        "flagged": found.flagged(named).tolist()
        if named is not None
        else [label in task.threat_labels for label in found.labels],
        "threat_score": found.threat_score,
        "prompt_chars": [len(text or "") for text in texts["prompt"]],
        "response_chars": [len(text or "") for text in texts["response"]],
        "latency_ms": [None] * len(records),
        **{name: [getattr(one, name) for one in samples] for name in ("language", "sketch", "prompt", "response")},
    }
    frame = pl.DataFrame(columns, schema=SCHEMA)
    return Reference(task.name, classifier.fingerprint, "model", frame, _check_estimate(frame))


def save_reference(folder: Path | str, reference: Reference) -> None:
    """Write a reference into the folder of its model, whole or not at all; an older one is replaced.

    Raises
    ------
    ArtifactError
        The folder holds no saved model.
    StorageError
        The disk is full or not writable.
    """
    from demur.models import read_manifest

    folder = Path(folder)
    read_manifest(folder)
    path = folder / FOLDER / f"{reference.task}.parquet"
    with replace_when_done(path) as part:
        reference.frame.write_parquet(part)
    about = {
        "format": FORMAT,
        "task": reference.task,
        "version": reference.version,
        "source": reference.source,
        "at": reference.at.isoformat(),
        "hash": hash_file(path),
        "facts": reference.facts,
    }
    write_json(folder / FOLDER / f"{reference.task}.json", about)


def read_reference(folder: Path | str, task: str, version: str) -> Reference | None:
    """The reference saved with a model; None where there is none.

    Raises
    ------
    ArtifactError
        It is damaged, was altered, or is of another version of the model.
    """
    about_path, path = (Path(folder) / FOLDER / f"{task}.{end}" for end in ("json", "parquet"))
    if not about_path.is_file():
        return None
    remedy = "make it again with demur.serve.monitor.save_reference, or remove it"
    try:
        about = json.loads(about_path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ArtifactError(f"{about_path} has format {about['format']}, this demur reads {FORMAT}; {remedy}")
        if about["version"] != version:
            raise ArtifactError(f"the reference in {path.parent} is of another version of the model; {remedy}")
        if hash_file(path) != about["hash"]:
            raise ArtifactError(f"the reference in {path.parent} was altered after saving; {remedy}")
        frame = check_frame(pl.read_parquet(path), str(path))
        return Reference(task, version, "model", frame, dict(about["facts"]), datetime.fromisoformat(about["at"]))
    except (ValueError, KeyError, TypeError, OSError, DataError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"the reference in {path.parent} is damaged ({type(error).__name__}); {remedy}"
        ) from None


def _check_estimate(frame: pl.DataFrame) -> dict[str, Any]:
    """Accuracy of labelled rows, as it was and as the probabilities have it."""
    known = frame.filter(pl.col("truth").is_not_null())
    if not len(known):
        return {}
    right = known.select((pl.col("truth") == pl.col("label")).mean()).item()
    sure = known.select(pl.col("probabilities").list.max().mean()).item()
    return {"labelled_rows": len(known), "accuracy": float(right), "estimated_accuracy": float(sure)}
