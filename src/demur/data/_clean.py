"""Clean records: a fixed chain of steps, each counted, each rejected row written down with its reason.

The steps, in order: encoding repair, control characters, white space, empty rows, over-long rows, language
flag, contradictory labels, exact duplicates, near duplicates. Splitting is left to ``_split``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import polars as pl
from pydantic import Field

from demur.config import Settings
from demur.data import _clean_steps as steps
from demur.data._group import assign_groups
from demur.data._quarantine import Quarantine
from demur.data._records import PLACE, Records
from demur.errors import EmptyDataError
from demur.tasks import Task


class CleanConfig(Settings):
    """What cleaning does; every step can be switched off."""

    repair_encoding: bool = Field(default=True, description="Undo wrongly decoded text (Ã© for é).")
    remove_control: bool = Field(default=True, description="Remove control characters and terminal escapes.")
    trim: bool = Field(default=True, description="Trim white space at both ends and unify line ends.")
    max_chars: int = Field(default=20_000, ge=1, description="Longest prompt or response, in characters.")
    overlong: Literal["truncate", "reject"] = Field(
        default="truncate", description="What happens to a row with a longer text."
    )
    detect_language: bool = Field(default=True, description="Add the column `lang` (ISO 639-1, null if unsure).")
    languages: tuple[str, ...] = Field(
        default=(), description="Keep only rows in these languages or of unknown one; empty keeps all."
    )
    contradictions: Literal["reject", "keep_first", "majority"] = Field(
        default="reject",
        description="What happens to rows with the same text and different labels; a tie of votes is rejected.",
    )
    drop_duplicates: bool = Field(default=True, description="Keep the first of rows with the same text.")
    near_duplicates: bool = Field(
        default=True, description="Look for near duplicates and join near-duplicate prompts into groups."
    )
    near_threshold: float = Field(
        default=0.85, gt=0, le=1, description="Jaccard similarity from which texts are near duplicates."
    )
    drop_near_duplicates: bool = Field(
        default=False, description="Also keep only the first of near-duplicate rows with equal labels."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the search for near duplicates.")


@dataclass(frozen=True)
class CleanStep:
    """What one step did."""

    step: str
    rows_in: int
    changed: int
    """Rows of which a cell changed and that stayed; for ``near_duplicates`` the rows found to have a twin."""
    rejected: int
    rows_out: int
    note: str = ""


@dataclass(frozen=True)
class CleanReport:
    """What cleaning did, step by step."""

    steps: tuple[CleanStep, ...]

    @property
    def rows_in(self) -> int:
        """Rows before the first step."""
        return self.steps[0].rows_in

    @property
    def rows_out(self) -> int:
        """Rows after the last step."""
        return self.steps[-1].rows_out

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "steps": [asdict(step) for step in self.steps],
        }

    def frame(self) -> pl.DataFrame:
        """One row a step."""
        return pl.DataFrame([asdict(step) for step in self.steps])


def clean_records(
    records: Records,
    config: CleanConfig | None = None,
    tasks: Sequence[Task] = (),
    quarantine: Quarantine | None = None,
) -> tuple[Records, CleanReport]:
    """Clean records for the given tasks.

    A label is kept only where its text is: the response for a task that reads responses, else the prompt.
    Where that text is missing, or where rows of the same text (the fields the task reads) contradict each
    other, the label is removed; a row that loses its last label that way is rejected. A row that never had
    a label is kept. Of exact duplicates (same prompt and response, case and white space aside) the first
    stays and inherits the labels only the others had. Afterwards every row has a group.

    Parameters
    ----------
    quarantine
        Takes the rejected rows, with the number each had in its file where the records still know it (those of
        ``load_sources(keep_places=True)``), else its position in ``records``, from 1. Without one they are only
        counted.

    Raises
    ------
    EmptyDataError
        No row is left.
    """
    config = config or CleanConfig()
    chain = _Chain(records, quarantine)
    if config.repair_encoding:
        chain.apply("repair_encoding", steps.repair_encoding)
    if config.remove_control:
        chain.apply("remove_control", steps.remove_control)
    if config.trim:
        chain.apply("trim", steps.trim)
    chain.apply("empty", lambda frame: steps.reject_empty(frame, tasks))
    chain.apply("overlong", lambda frame: steps.limit_length(frame, config.max_chars, config.overlong))
    if config.detect_language:
        chain.apply("language", lambda frame: steps.flag_language(frame, config.languages))
    for task in tasks:
        chain.apply(
            f"contradictions_{task.name}",
            partial(steps.settle_contradictions, task=task, tasks=tasks, action=config.contradictions),
        )
    if config.drop_duplicates:
        chain.apply("duplicates", lambda frame: steps.drop_duplicates(frame, tasks))
    if config.near_duplicates:
        chain.apply(
            "near_duplicates",
            lambda frame: steps.flag_near(
                frame, tasks, (config.near_threshold, config.seed), drop=config.drop_near_duplicates
            ),
        )
    threshold = config.near_threshold if config.near_duplicates else 1.0
    grouped = assign_groups(Records(chain.frame.drop(steps.ROW, *PLACE, strict=False)), threshold, config.seed)
    return grouped, CleanReport(tuple(chain.done))


class _Chain:
    """Runs steps one after the other, counting rows and writing rejected ones down."""

    def __init__(self, records: Records, quarantine: Quarantine | None) -> None:
        self.frame = records.frame.with_row_index(steps.ROW, offset=1)
        self.quarantine = quarantine
        self.done: list[CleanStep] = []

    def apply(self, name: str, step: steps.Step) -> None:
        before = self.frame
        outcome = step(before)
        self.frame = outcome.frame
        self.done.append(
            CleanStep(
                name,
                before.height,
                outcome.changed,
                before.height - self.frame.height,
                self.frame.height,
                outcome.note,
            )
        )
        if self.quarantine is not None:
            gone = before.filter(~pl.col(steps.ROW).is_in(self.frame.get_column(steps.ROW).implode()))
            known = [name for name in PLACE if name in gone.columns]
            file, place = (pl.coalesce(*known[at : at + 1], name) for at, name in enumerate(("source", steps.ROW)))
            for row, source, number, id in gone.select(
                steps.ROW, file.alias("f"), place.alias("p"), "id"
            ).iter_rows():
                self.quarantine.add(source or "records", number, outcome.reasons.get(row, name), id)
        if not self.frame.height:
            raise EmptyDataError(
                f"cleaning rejected every row, the last ones at step '{name}' ({before.height}); "
                "look at the quarantine file, or switch the step off"
            )


def repair_texts(records: Records) -> Records:
    """Repair encoding, remove control characters and trim: what cleaning does to texts, without losing a row.

    Classifiers judge texts in this form, since they learned from texts in this form.
    """
    frame = records.frame.with_columns(pl.int_range(1, records.frame.height + 1).alias(steps.ROW))
    for step in (steps.repair_encoding, steps.remove_control, steps.trim):
        frame = step(frame).frame
    return Records(frame.drop(steps.ROW))
