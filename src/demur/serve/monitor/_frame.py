"""What is known of answered rows, as one table: of a window, and of a reference; no texts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.errors import DataError
from demur.serve.monitor._sketch import DIMENSION, unpack_sketch
from demur.store import PredictionFilter
from demur.tasks import Task

if TYPE_CHECKING:
    from demur.store import InputSampleRow, PredictionRow, Store

SCHEMA: dict[str, pl.DataType] = {
    "at": pl.Datetime("us", "UTC"),
    "subject": pl.String(),
    "label": pl.String(),
    "truth": pl.String(),
    "probabilities": pl.List(pl.Float64()),
    "flagged": pl.Boolean(),
    "threat_score": pl.Float64(),
    "prompt_chars": pl.Int64(),
    "response_chars": pl.Int64(),
    "latency_ms": pl.Float64(),
    "language": pl.String(),
    "sketch": pl.String(),
    "prompt": pl.String(),
    "response": pl.String(),
}
"""``truth`` is known of validation rows alone; ``prompt`` and ``response`` are sketches of the kind ``sketch``."""
_SLACK = timedelta(minutes=1)
"""A sample may bear a time a little before or after that of its answer."""


def observe_rows(
    store: Store, task: Task, where: PredictionFilter, span: tuple[datetime | None, datetime], limit: int
) -> pl.DataFrame:
    """Answers in order of time, with what was sampled of their inputs.

    Parameters
    ----------
    where
        Which answers; the newest come first into the limit where it says so.
    span
        From the first time on and before the second.
    limit
        At most so many.
    """
    found = store.predictions(task.name, *span, limit, where=where)
    found = found[::-1] if where.is_newest_first else found
    if not found:
        return pl.DataFrame(schema=SCHEMA)
    samples = {
        (one.request_id, one.item): one for one in store.input_samples(found[0].at - _SLACK, found[-1].at + _SLACK)
    }
    return join_samples(task, found, samples)


def join_samples(
    task: Task, predictions: Sequence[PredictionRow], samples: dict[tuple[str, int], InputSampleRow]
) -> pl.DataFrame:
    """One row a prediction, with its sample where there is one."""
    pairs = [(row, samples.get((row.request_id, row.item))) for row in predictions]
    columns = {
        "at": [row.at for row, _ in pairs],
        "subject": [row.subject for row, _ in pairs],
        "label": [row.label for row, _ in pairs],
        "truth": [None] * len(pairs),
        "probabilities": [[row.probabilities.get(one, 0.0) for one in task.labels] for row, _ in pairs],
        "flagged": [is_acted_on(task, row) for row, _ in pairs],
        "threat_score": [row.threat_score for row, _ in pairs],
        "prompt_chars": [row.prompt_chars for row, _ in pairs],
        "response_chars": [row.response_chars for row, _ in pairs],
        "latency_ms": [row.latency_ms for row, _ in pairs],
        "language": [sample and sample.language for _, sample in pairs],
        "sketch": [sample and sample.sketch for _, sample in pairs],
        "prompt": [sample and sample.prompt for _, sample in pairs],
        "response": [sample and sample.response for _, sample in pairs],
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def is_acted_on(task: Task, row: PredictionRow) -> bool:
    """Whether an answer was flagged; where the model has no operating point, whether its label is a threat."""
    return row.label in task.threat_labels if row.is_flagged is None else row.is_flagged


def vectors_of(frame: pl.DataFrame, fields: Sequence[str]) -> NDArray[np.float64]:
    """Sketches of the fields side by side, ``(n, 64 a field)``; zeros for a field without a text."""
    parts = [
        [np.zeros(DIMENSION) if packed is None else unpack_sketch(packed) for packed in frame[field].to_list()]
        for field in fields
    ]
    return np.concatenate([np.reshape(part, (len(part), DIMENSION)) for part in parts], axis=1)


def answers_of(version: str, is_newest_first: bool = True) -> PredictionFilter:
    """The answers of a version that somebody was told."""
    return PredictionFilter(version=version, is_shadow=False, is_newest_first=is_newest_first)


def span_of(frame: pl.DataFrame) -> tuple[datetime, datetime]:
    """Times of the first and the last of at least one live row."""
    first, last = frame["at"].min(), frame["at"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return first, last


def seconds_of(frame: pl.DataFrame) -> NDArray[np.float64] | None:
    """When each row came, in seconds; None where it is not known of all."""
    if frame["at"].null_count():
        return None
    return frame["at"].dt.epoch("us").to_numpy() / 1e6


def check_frame(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """The table, if its columns are those of a reference.

    Raises
    ------
    DataError
        They are not; take a new reference.
    """
    if dict(frame.schema) != SCHEMA:
        raise DataError(f"{where} has other columns than a reference of this version; take a new reference")
    return frame
