"""The probabilities one model gave under one protocol, read from its parquet file and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROW_SUM_SLACK = 1e-3
"""How far the probabilities of a row may be from summing to 1; half-precision outputs are about this far."""


@dataclass(frozen=True)
class Predicted:
    """The probabilities one model gave under one protocol: ``n`` rows, ``k`` classes."""

    ids: list[str]
    y: NDArray[np.int64]
    proba: NDArray[np.float64]
    columns: Mapping[str, list[str | None]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def called(self) -> NDArray[np.int64]:
        """The most probable class of each row, ``(n,)``."""
        return np.asarray(self.proba.argmax(axis=1), dtype=np.int64)

    def column(self, name: str) -> list[str | None]:
        """``group``, ``source``, ``answerer`` or ``fold`` of each row; None where the run has none."""
        return self.columns.get(name) or [None] * len(self)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Group numbers ``(n,)``; a row without a group is a group of its own."""
        keys = [f"g{group}" if group is not None else f"\0{row}" for row, group in enumerate(self.column("group"))]
        return np.asarray(np.unique(np.array(keys, dtype=object), return_inverse=True)[1], dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> Predicted:
        """The given rows alone."""
        chosen = [int(row) for row in rows]
        return Predicted(
            ids=[self.ids[row] for row in chosen],
            y=self.y[rows],
            proba=self.proba[rows],
            columns={name: [values[row] for row in chosen] for name, values in self.columns.items()},
        )


Loader = Callable[[str, str], Predicted | None]
"""Takes a model's name and a protocol; None where there are no such predictions."""


def predictions_of(run_folder: Path | str, task: str) -> Loader:
    """A reader of one task's predictions in a run folder, which remembers what it has read.

    A file that is missing, or cannot be read, counts as none.

    Parameters
    ----------
    run_folder
        The run folder; the files lie in ``predictions/<task>/<model>/<protocol>.parquet``.
    task
        Name of the task.
    """
    known: dict[tuple[str, str], Predicted | None] = {}

    def load(model: str, protocol: str) -> Predicted | None:
        key = (model, protocol)
        if key not in known:
            path = Path(run_folder) / "predictions" / task / model / f"{protocol}.parquet"
            try:
                known[key] = read_predicted(path) if path.is_file() else None
            except (OSError, ValueError):
                known[key] = None
        return known[key]

    return load


def align(a: Predicted, b: Predicted) -> tuple[Predicted, Predicted]:
    """Both cut down to the rows they share, in the order of ``a``; a repeated id counts once per repeat."""
    if a.ids == b.ids:
        return a, b
    places = {key: row for row, key in enumerate(_keys(b))}
    rows = [(row, places[key]) for row, key in enumerate(_keys(a)) if key in places]
    left, right = (np.array([pair[side] for pair in rows], dtype=np.int64) for side in (0, 1))
    return a.take(left), b.take(right)


def sort_rows(rows: Predicted) -> Predicted:
    """The rows in the order of their ids, so that models whose folds differ stand row by row."""
    keys = list(_keys(rows))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return rows if order == list(range(len(keys))) else rows.take(np.array(order, dtype=np.int64))


def _keys(rows: Predicted) -> Iterator[tuple[str, int]]:
    seen: dict[str, int] = {}
    for identity in rows.ids:
        seen[identity] = seen.get(identity, -1) + 1
        yield identity, seen[identity]


def read_predicted(path: Path) -> Predicted:
    """Read and check one file of predictions.

    Raises
    ------
    OSError, ValueError
        It cannot be read, lacks a column, or its probabilities are none; the message is one short line.
    """
    try:
        return _parse_predictions(pl.read_parquet(path))
    except pl.exceptions.PolarsError as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ValueError(lines[0]) from None


def _parse_predictions(frame: pl.DataFrame) -> Predicted:
    """Check a frame of predictions; a ValueError says what is wrong with it."""
    names = sorted(
        (name for name in frame.columns if re.fullmatch(r"p_\d+", name)), key=lambda name: int(name[2:])
    )
    y = frame.get_column("y").cast(pl.Int64).to_numpy()
    proba = frame.select(names).to_numpy().astype(np.float64)
    if not np.isfinite(proba).all() or (np.abs(proba.sum(axis=1) - 1) > ROW_SUM_SLACK).any():
        raise ValueError("its probabilities are not finite or do not sum to 1")
    if ((y < 0) | (y >= len(names))).any():
        raise ValueError("it holds a class without a probability column")
    columns: dict[str, list[str | None]] = {
        str(name): frame.get_column(name).cast(pl.String).to_list()
        for name in ("group", "source", "answerer", "fold")
        if name in frame.columns
    }
    return Predicted(frame.get_column("id").cast(pl.String).to_list(), y, proba, columns)
