"""Scoring a file: any number of rows in constant memory, resumed where it was interrupted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur import __version__
from demur.data import Quarantine, Records, iter_records
from demur.errors import DataError, UnreadableFileError, translate_os_error
from demur.models._base import BaseClassifier, Predictions
from demur.models._load import Runtime
from demur.models._saved import load_chosen
from demur.models._score_columns import Layout, read_columns
from demur.models._score_parts import FORMATS, Parts, out_format
from demur.paths import hash_value


@dataclass(frozen=True)
class ScoreOptions:
    """How a file is scored."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our column to the column of the file."""
    batch_rows: int = 2048
    """Rows judged at a time."""
    fresh: bool = False
    """Start over instead of going on with an interrupted result."""
    runtime: Literal["auto"] | Runtime = "auto"
    """What runs the model; ``auto`` takes its ONNX export where it has one."""
    threshold: str | None = None
    """An operating point of every model, such as ``fpr_1``: adds a column of what it flags."""
    unsure: bool = False
    """Add a column of what every model is unsure of."""


@dataclass(frozen=True)
class ScoreSummary:
    """What scoring a file gave."""

    rows: int
    rejected: int
    resumed_rows: int
    seconds: float
    out: Path
    quarantine: Path
    labels: dict[str, dict[str, int]]
    """Task to label to number of rows; ``<task>_flagged`` and ``<task>_unsure`` too, where asked for."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"out": str(self.out), "quarantine": str(self.quarantine)}


def score_file(
    file: Path,
    model: Path,
    out: Path | None = None,
    options: ScoreOptions | None = None,
    tell: Callable[[int, float], None] | None = None,
) -> ScoreSummary:
    """Judge every row of a file and write it back with ``<task>_label`` and ``<task>_p_<label>`` columns.

    ``<task>_flagged`` and ``<task>_unsure`` stand after them where the options ask for them.

    Parameters
    ----------
    file
        JSONL, CSV or Parquet, plain or gzipped; its columns are kept.
    model
        A saved model, or a run folder (then the winner of every task judges).
    out
        Default: ``name.scored.jsonl`` beside ``name.jsonl``, and so on.
    tell
        Called after each batch with the rows done and the rows per second.

    Raises
    ------
    DataError
        The file cannot be read, or lacks a text the model reads.
    UsageError
        A model has no operating point of the name asked for, or no abstention.
    ArtifactError
        The model cannot be loaded.
    StorageError
        The disk is full or not writable.
    """
    options = options or ScoreOptions()
    file = Path(file)
    out = Path(out) if out is not None else default_out(file)
    facts = _check_paths(file, out)
    classifiers = load_chosen(Path(model), options.runtime)
    for classifier in classifiers:
        _check_verdicts(classifier, options)
    layout = Layout(file, read_columns(file), options.columns, tuple(new_columns(classifiers, options)))
    layout.check(classifiers)
    started = time.perf_counter()
    key: list[Any] = [__version__, facts, [one.fingerprint for one in classifiers], dict(options.columns)]
    key += [options.batch_rows, options.runtime, options.threshold, options.unsure]
    parts = Parts(out, hash_value(key), fresh=options.fresh)
    resumed = parts.rows
    quarantine = _new_quarantine(out)
    with quarantine:
        batches = iter_records(file, columns=options.columns, quarantine=quarantine, batch_rows=options.batch_rows)
        for batch in _remaining(batches, resumed):
            columns, counts = judge_batch(batch, classifiers, options)
            parts.add(layout.restore(batch.frame, columns), len(batch), counts)
            if tell is not None:
                tell(parts.rows, (parts.rows - resumed) / max(time.perf_counter() - started, 1e-9))
    rows, labels = parts.rows, parts.labels
    parts.join()
    return ScoreSummary(
        rows=rows,
        rejected=len(quarantine),
        resumed_rows=resumed,
        seconds=time.perf_counter() - started,
        out=out,
        quarantine=quarantine.path,
        labels={name: dict(sorted(counts.items())) for name, counts in labels.items()},
    )


def new_columns(classifiers: Sequence[BaseClassifier[Any]], options: ScoreOptions | None = None) -> list[str]:
    """The columns that judging adds: ``<task>_label``, ``<task>_p_<label>`` for every label, and verdicts."""
    verdicts = _verdicts(options or ScoreOptions())
    return [
        f"{one.task.name}_{rest}"
        for one in classifiers
        for rest in ("label", *(f"p_{label}" for label in one.task.labels), *verdicts)
    ]


def judge_batch(
    batch: Records, classifiers: Sequence[BaseClassifier[Any]], options: ScoreOptions | None = None
) -> tuple[list[pl.Series], dict[str, Counter[str]]]:
    """The new columns of a batch, and how often each label of each task, and each verdict, was given."""
    options = options or ScoreOptions()
    columns: list[pl.Series] = []
    counts: dict[str, Counter[str]] = {}
    for classifier in classifiers:
        predictions = classifier.predict(batch)
        counts[classifier.task.name] = Counter(predictions.labels)
        columns.append(pl.Series(predictions.labels, dtype=pl.String))
        columns += [pl.Series(column).round(6) for column in predictions.probabilities.T]
        for name, verdict in _verdicts(options).items():
            values = verdict(predictions)
            counts[f"{classifier.task.name}_{name}"] = Counter("yes" if value else "no" for value in values)
            columns.append(pl.Series(values, dtype=pl.Boolean))
    return [one.alias(name) for one, name in zip(columns, new_columns(classifiers, options), strict=True)], counts


def _verdicts(options: ScoreOptions) -> dict[str, Callable[[Predictions], NDArray[np.bool_]]]:
    """The further columns asked for, by the end of their name."""
    found: dict[str, Callable[[Predictions], NDArray[np.bool_]]] = {}
    threshold = options.threshold
    if threshold is not None:
        found["flagged"] = lambda predictions: predictions.flagged(threshold)
    if options.unsure:
        found["unsure"] = lambda predictions: predictions.unsure
    return found


def _check_verdicts(classifier: BaseClassifier[Any], options: ScoreOptions) -> None:
    """Refuse at once, and not after the first batch, what a model has no threshold for."""
    nothing = np.empty((0, len(classifier.task.labels)))
    for verdict in _verdicts(options).values():
        verdict(Predictions(classifier.task, [], nothing, classifier.operating, classifier.conformal))


def default_out(file: Path) -> Path:
    """``name.scored.jsonl`` for ``name.jsonl``; a JSON array becomes JSON lines."""
    suffix = next((known for known in sorted(FORMATS, key=len, reverse=True) if file.name.endswith(known)), None)
    stem = file.name.removesuffix(suffix) if suffix else file.name.split(".")[0]
    return file.with_name(f"{stem}.scored{suffix or '.jsonl'}")


def _check_paths(file: Path, out: Path) -> list[Any]:
    """What tells whether the input changed, once input and output are known to be usable."""
    out_format(out)
    try:
        facts = file.stat()
    except FileNotFoundError:
        raise UnreadableFileError(f"there is no file {file}; check the path") from None
    except OSError as error:
        raise UnreadableFileError(f"{file} cannot be read ({error.strerror}); check the path") from None
    if out.exists() and out.samefile(file):
        raise DataError(f"the result would overwrite its own input {file}; name another file with --out")
    return [facts.st_size, facts.st_mtime_ns, str(file.resolve())]


def _new_quarantine(out: Path) -> Quarantine:
    """An empty quarantine: every run reads the file from its start, so set-aside rows come again."""
    path = out.with_name(f"{out.name}.quarantine.jsonl")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise translate_os_error(error, f"replacing {path}") from error
    return Quarantine(path)


def _remaining(batches: Iterator[Records], skip: int) -> Iterator[Records]:
    """The batches without the first ``skip`` rows, which were judged before."""
    for batch in batches:
        if skip >= len(batch):
            skip -= len(batch)
            continue
        yield batch.take(range(skip, len(batch))) if skip else batch
        skip = 0
