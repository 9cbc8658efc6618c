"""Records: a table of prompts, responses, where they came from, their labels and their group.

The one shape in which data travels between stages. Reading, cleaning and splitting live beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.data._columns import to_series
from demur.errors import DataError, EmptyDataError, LabelError, MissingColumnError
from demur.paths import hash_value
from demur.tasks import Task, show_label

TEXT_COLUMNS = ("id", "prompt", "response", "model", "source", "group")
"""Canonical columns, all text, null where unknown (``id`` never is). A label column bears its task's name."""
_PLAIN = [pl.String] * len(TEXT_COLUMNS)
PLACE = ("\0file", "\0place")
"""Columns of the file a row was read from and its number there, while rows are read and cleaned; never kept."""


class Records:
    """An immutable table of records over a polars frame.

    Parameters
    ----------
    frame
        Any frame with a ``prompt`` or ``response`` column; missing canonical columns are added as null,
        a missing ``id`` becomes the row number, other columns are kept as they are.

    Raises
    ------
    MissingColumnError
        Neither ``prompt`` nor ``response`` is there.
    """

    __slots__ = ("frame",)

    def __init__(self, frame: pl.DataFrame) -> None:
        width = len(TEXT_COLUMNS)
        if tuple(frame.columns[:width]) == TEXT_COLUMNS and frame.dtypes[:width] == _PLAIN:
            self.frame = frame  # as it should be: for a row of a server, casting costs more than some models
            return
        if "prompt" not in frame.columns and "response" not in frame.columns:
            raise MissingColumnError("prompt", frame.columns)
        missing = [name for name in TEXT_COLUMNS if name not in frame.columns and name != "id"]
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
        if "id" not in frame.columns:
            numbers = pl.int_range(1, frame.height + 1).cast(pl.String)
            frame = frame.with_columns(pl.concat_str(pl.lit("row-"), numbers).alias("id"))
        frame = frame.with_columns(pl.col(name).cast(pl.String) for name in TEXT_COLUMNS)
        rest = [name for name in frame.columns if name not in TEXT_COLUMNS]
        self.frame = frame.select(*TEXT_COLUMNS, *rest)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Records:
        """Build records from mappings (``{"prompt": ..., "response": ..., "refusal": "hard_refusal"}``).

        A column whose values have types that do not go together becomes text, nested values JSON.

        Raises
        ------
        EmptyDataError
            There is no row.
        DataError
            A row is not a mapping.
        """
        listed = list(rows)
        if not listed:
            raise EmptyDataError("no records were given; pass at least one")
        for number, row in enumerate(listed, start=1):
            if not isinstance(row, Mapping):
                raise DataError(f"row {number} is a {type(row).__name__}; give mappings like {{'prompt': '...'}}")
        names = dict.fromkeys(name for row in listed for name in row)
        columns = [to_series(name, [row.get(name) for row in listed], text=name in TEXT_COLUMNS) for name in names]
        return cls(pl.DataFrame(columns))

    @classmethod
    def from_texts(cls, prompts: Sequence[str | None], responses: Sequence[str | None]) -> Records:
        """Build records of which nothing but the texts is known; ids count from 0.

        Quicker than :meth:`from_rows`, and of some dozen rows by much: nothing is looked at or cast.
        """
        nothing = [None] * len(prompts)
        ids = [str(number) for number in range(len(prompts))]
        known = {"id": ids, "prompt": prompts, "response": responses}
        return cls(pl.DataFrame([pl.Series(name, known.get(name, nothing), pl.String) for name in TEXT_COLUMNS]))

    @classmethod
    def concat(cls, parts: Sequence[Records]) -> Records:
        """Join records; a column that some parts lack is null there."""
        return cls(pl.concat([part.frame for part in parts], how="diagonal_relaxed"))

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"Records(n={len(self)}, columns={self.frame.columns})"

    def texts(self, field: str) -> list[str]:
        """The values of a text column, null as the empty string."""
        column = self.frame.get_column(field)
        return (column.fill_null("") if column.null_count() else column).to_list()

    def column(self, name: str) -> NDArray[np.object_]:
        """A column as objects, ``(n,)``, null as None."""
        return np.array([*self.frame.get_column(name).to_list(), None], dtype=object)[:-1]

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Records:
        """The rows at these positions, in this order."""
        return Records(self.frame[np.asarray(rows, dtype=np.int64)])

    def filter(self, *predicates: pl.Expr) -> Records:
        """The rows for which every polars expression holds."""
        return Records(self.frame.filter(*predicates))

    def with_column(self, name: str, values: Sequence[Any] | NDArray[Any] | pl.Series) -> Records:
        """A copy with one column set."""
        return Records(self.frame.with_columns(pl.Series(name, values)))

    def labelled(self, task: Task) -> Records:
        """The rows that carry a label of the task.

        Raises
        ------
        MissingColumnError
            There is no column of the task's name.
        EmptyDataError
            No row has a label.
        """
        if task.name not in self.frame.columns:
            raise MissingColumnError(task.name, self.frame.columns)
        kept = self.filter(pl.col(task.name).is_not_null())
        if not len(kept):
            raise EmptyDataError(f"no record has a label for task '{task.name}'")
        return kept

    def targets(self, task: Task) -> NDArray[np.int64]:
        """Class ids ``(n,)`` of the task's label column; every row must be labelled.

        Raises
        ------
        LabelError
            A row has no label, or one outside the task.
        """
        if task.name not in self.frame.columns:
            raise MissingColumnError(task.name, self.frame.columns)
        ids = {label: number for number, label in enumerate(task.labels)}
        values = self.frame.get_column(task.name).to_list()
        targets = np.empty(len(values), dtype=np.int64)
        for row, value in enumerate(values):
            if value not in ids:
                shown = show_label(value)
                raise LabelError(
                    f"label '{shown}' (row {row + 1}) is not one of task '{task.name}' "
                    f"({', '.join(task.labels)}); map it with "
                    f"label_maps: {{{task.name}: {{'{shown}': ...}}}}"
                )
            targets[row] = ids[value]
        return targets

    def groups(self) -> NDArray[np.int64]:
        """Group numbers ``(n,)``; a row without a group is a group of its own."""
        keys = [group if group is not None else f"\0{row}" for row, group in enumerate(self.column("group"))]
        return np.unique(np.array(keys, dtype=object), return_inverse=True)[1].astype(np.int64)

    def content_hash(self) -> str:
        """SHA-256 over all cells; the same rows in the same order give the same hash."""
        columns = sorted(self.frame.columns)
        return hash_value([columns, [self.frame.get_column(name).to_list() for name in columns]])
