"""From rows of any layout to records: names mapped, labels translated and checked, unusable rows set aside.

The readers and the importers hand their rows over here; nothing in this module opens a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from demur.data._columns import to_series, to_text
from demur.data._quarantine import Quarantine
from demur.data._records import PLACE, TEXT_COLUMNS, Records
from demur.errors import (
    DataError,
    EmptyDataError,
    LabelError,
    MissingColumnError,
    UnreadableFileError,
    near_match,
)
from demur.tasks import Task, show_label

Row = tuple[int, Mapping[str, Any]]
"""A row number as the user counts (the line of a JSON-lines file, the record of a table) and its cells."""
LabelMaps = Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True)
class ReadOptions:
    """How the columns and labels of a file translate into ours."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our column to the column of the file."""
    layout: Mapping[str, str] = field(default_factory=dict)
    """As ``columns``, but a column that is not there is no error; ``columns`` wins."""
    label_maps: LabelMaps = field(default_factory=dict)
    """Task to ``{their label: our label}``; a label mapped to null counts as no label."""
    tasks: Sequence[Task] = ()
    """The tasks whose label columns are checked."""
    quarantine: Quarantine | None = None
    """Where rows go that cannot be used; without one the first such row is an error."""
    keep_places: bool = False
    """Keep each row's file and number in the columns ``PLACE``; whoever asks for them takes them out again."""


class RowShaper:
    """Turns batches of raw rows of one file into records and keeps count of what was rejected."""

    def __init__(self, path: Path | str, options: ReadOptions) -> None:
        self.path = path
        self.options = options
        self.accepted = 0
        self.rejected = 0
        self.first_reason = ""
        self._checked = False

    def reject(self, row: int, reason: str, id: str | None = None, error: type[DataError] = DataError) -> None:
        """Put a row into quarantine.

        Raises
        ------
        DataError
            There is no quarantine; a label outside the task is a LabelError.
        """
        if self.options.quarantine is None:
            raise error(
                f"{self.path}, row {row}: {reason}; correct it, or pass a quarantine to set such rows aside"
            )
        if not self.rejected:
            self.first_reason = f"row {row}: {reason}"
        self.rejected += 1
        self.options.quarantine.add(self.path, row, reason, id)

    def shape(self, rows: Sequence[Row]) -> Records | None:
        """Records of one batch; None where no row of it can be used."""
        if not rows:
            return None
        cells = [_flatten_labels(row) for _, row in rows]
        keys = {key: None for row in cells for key in row}
        columns = {key: to_series(key, [row.get(key) for row in cells], text=key in TEXT_COLUMNS) for key in keys}
        return self.shape_frame(pl.DataFrame(list(columns.values())), [number for number, _ in rows])

    def shape_frame(self, frame: pl.DataFrame, numbers: Sequence[int]) -> Records | None:
        """As ``shape``, from columns that are there already."""
        if not self._checked:
            self._check_mapped(frame)
        frame = self._rename(frame)
        frame = frame.with_columns(to_text(frame[name]) for name in TEXT_COLUMNS if name in frame.columns)
        if not self._checked:
            self._check_columns(frame)
            self._checked = True
        texts = [name for name in ("prompt", "response") if name in frame.columns]
        if not texts:
            frame, texts = frame.with_columns(pl.lit(None, dtype=pl.String).alias("prompt")), ["prompt"]
        frame = _give_ids(frame.with_columns(pl.Series("\0row", numbers, dtype=pl.Int64)))
        has_text = pl.any_horizontal(pl.col(name).str.contains(r"\S") for name in texts).fill_null(value=False)
        for row, id in frame.filter(~has_text).select("\0row", "id").iter_rows():
            self.reject(row, f"no text in {' or '.join(texts)}", id)
        frame = self._check_labels(frame.filter(has_text))
        if not frame.height:
            return None
        self.accepted += frame.height
        if self.options.keep_places:
            file, place = PLACE
            return Records(frame.with_columns(pl.lit(str(self.path)).alias(file)).rename({"\0row": place}))
        return Records(frame.drop("\0row"))

    def check_any(self) -> None:
        """Make sure the file gave at least one usable row.

        Raises
        ------
        UnreadableFileError
            Every row was rejected.
        """
        if self.rejected and not self.accepted:
            raise UnreadableFileError(
                f"none of the {self.rejected} rows of {self.path} can be used ({self.first_reason}); "
                "check the format of the file and the columns that are mapped"
            )

    def _rename(self, frame: pl.DataFrame) -> pl.DataFrame:
        mapping = {**self.options.layout, **self.options.columns}
        wanted = {theirs: ours for ours, theirs in mapping.items() if theirs in frame.columns and ours != theirs}
        displaced = {
            name: f"{name}_orig"
            for name in wanted.values()
            if name in frame.columns and name not in wanted and f"{name}_orig" not in frame.columns
        }
        frame = frame.drop(
            name
            for name in wanted.values()
            if name in frame.columns and name not in wanted and name not in displaced
        )
        return frame.rename({**wanted, **displaced})

    def _check_mapped(self, frame: pl.DataFrame) -> None:
        """A mapping to a column that is not there is a slip, also where the file has a column of our name."""
        for theirs in self.options.columns.values():
            if theirs not in frame.columns:
                raise MissingColumnError(theirs, frame.columns, str(self.path))

    def _check_columns(self, frame: pl.DataFrame) -> None:
        if "prompt" not in frame.columns and "response" not in frame.columns:
            raise MissingColumnError("prompt", frame.columns, str(self.path))

    def _check_labels(self, frame: pl.DataFrame) -> pl.DataFrame:
        for name in sorted({*self.options.label_maps, *(task.name for task in self.options.tasks)}):
            if name in frame.columns:
                mapping = self.options.label_maps.get(name, {})
                frame = frame.with_columns(_translate(frame.get_column(name), mapping))
        for task in self.options.tasks:
            if task.name not in frame.columns:
                continue
            known = pl.col(task.name).is_null() | pl.col(task.name).is_in(list(task.labels))
            for row, id, label in frame.filter(~known).select("\0row", "id", task.name).iter_rows():
                self.reject(row, _describe_label(show_label(label), task), id, LabelError)
            frame = frame.filter(known)
        return frame


def shape_rows(shaper: RowShaper, rows: Iterable[Row], batch_rows: int = 50_000) -> Records:
    """All usable rows of a file as records.

    Raises
    ------
    DataError
        A row cannot be used and there is no quarantine, or no row can be used.
    """
    parts, batch = [], list[Row]()
    for row in rows:
        batch.append(row)
        if len(batch) >= batch_rows:
            parts.append(shaper.shape(batch))
            batch = []
    parts.append(shaper.shape(batch))
    shaper.check_any()
    return join_records([part for part in parts if part is not None], shaper.path)


def join_records(parts: Sequence[Records], where: Path | str) -> Records:
    """Join records whose extra columns may differ in type: numbers become floats, all else text.

    Raises
    ------
    EmptyDataError
        There is no part.
    """
    if not parts:
        raise EmptyDataError(f"{where} holds no rows; give a file with at least one")
    kinds: dict[str, set[pl.DataType]] = {}
    for part in parts:
        for name, kind in part.frame.schema.items():
            if part.frame[name].null_count() < len(part):
                kinds.setdefault(name, set()).add(kind)
    targets = {name: _common_type(found) for name, found in kinds.items()}
    frames = [
        part.frame.with_columns(
            _cast(part.frame[name], targets[name]) for name in part.frame.columns if name in targets
        )
        for part in parts
    ]
    return Records(pl.concat(frames, how="diagonal_relaxed", rechunk=True))


def _describe_label(label: str, task: Task) -> str:
    return (
        f"label '{label}' is not one of task '{task.name}' ({', '.join(task.labels)})"
        f"{near_match(label, task.labels)}; map it with label_maps: {{{task.name}: {{'{label}': ...}}}}"
    )


def _flatten_labels(row: Mapping[str, Any]) -> Mapping[str, Any]:
    labels = row.get("labels")
    if not isinstance(labels, dict):
        return row
    rest = {key: value for key, value in row.items() if key != "labels"}
    return {**labels, **rest}


def _give_ids(frame: pl.DataFrame) -> pl.DataFrame:
    fallback = pl.concat_str(pl.lit("row-"), pl.col("\0row").cast(pl.String))
    if "id" not in frame.columns:
        return frame.with_columns(fallback.alias("id"))
    return frame.with_columns(pl.col("id").cast(pl.String).fill_null(fallback))


def _translate(values: pl.Series, mapping: Mapping[str, str | None]) -> pl.Series:
    if values.dtype in (pl.Float32, pl.Float64) and values.drop_nulls().is_finite().all():
        whole = values.drop_nulls()
        if (whole == whole.round()).all():
            values = values.cast(pl.Int64)
    texts = to_text(values).str.strip_chars()
    if values.dtype == pl.Boolean:
        mapping = {str(key).lower(): label for key, label in mapping.items()}
    texts = texts.set(texts == "", None)
    if not mapping:
        return texts.alias(values.name)
    keys = {str(key): label for key, label in mapping.items()}
    return pl.Series(values.name, [keys.get(text, text) for text in texts.to_list()], dtype=pl.String)


def _common_type(kinds: set[pl.DataType]) -> pl.DataType:
    if len(kinds) == 1:
        return next(iter(kinds))
    return pl.Float64() if all(kind.is_numeric() for kind in kinds) else pl.String()


def _cast(values: pl.Series, target: pl.DataType) -> pl.Series:
    if values.dtype == target:
        return values
    if values.null_count() == len(values):
        return pl.Series(values.name, [None] * len(values), dtype=target)
    return to_text(values) if target == pl.String else values.cast(target)
