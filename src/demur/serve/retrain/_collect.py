"""Labelled rows with their texts, out of the store and out of files, and the votes on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from demur.errors import DataError, LabelError
from demur.serve.retrain._config import LabelFile, LabelSource
from demur.serve.retrain._votes import Vote
from demur.tasks import show_label

if TYPE_CHECKING:
    from demur.data import Records
    from demur.store import LabelledRow
    from demur.tasks import Task


@dataclass
class Collected:
    """Texts, and what was said of them; a vote's ``row`` is a place in ``texts``."""

    texts: list[dict[str, Any]] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def records(self) -> Records:
        """The texts, repaired as models see them."""
        from demur.data import Records, repair_texts

        return repair_texts(Records.from_rows(self.texts))


def collect_stored(rows: Sequence[LabelledRow], task: Task) -> Collected:
    """Feedback on answers whose texts were kept; one vote for each piece of feedback.

    The answer that somebody was told counts as what was served, not that of a shadow.
    """
    found, known = Collected(), dict[tuple[str, int], int]()
    shown: dict[str, LabelledRow] = {}
    for row in rows:
        before = shown.get(row.feedback.id)
        if before is None or (before.prediction.is_shadow and not row.prediction.is_shadow):
            shown[row.feedback.id] = row
    found.counts["labelled"] = len(shown)
    for row in shown.values():
        said, answered = row.feedback, row.prediction
        if getattr(answered, judged_field(task)) is None:
            found.counts["without_text"] += 1
            continue
        if said.label not in task.labels:
            found.counts["unknown_label"] += 1
            continue
        place = (said.request_id, said.item)
        if place not in known:
            known[place] = len(found.texts)
            id = f"{said.request_id}/{said.item}"
            found.texts.append({"id": id, "prompt": answered.prompt, "response": answered.response})
        found.votes.append(
            Vote(
                text="",
                row=known[place],
                label=said.label,
                source=said.source,
                at=said.at,
                key=said.key_id or "",
                subject=answered.subject or "",
                served=answered.label,
                probability=answered.probabilities.get(answered.label, 0.0),
            )
        )
    return found


def collect_files(found: Collected, files: Sequence[LabelFile], task: Task, at: datetime) -> None:
    """Add the labelled rows of files.

    Columns ``labelled_by``, ``key_id`` and ``subject`` say of each row who labelled it, where they are there.

    Raises
    ------
    DataError
        A file cannot be used.
    """
    from demur.data import DataSource, load_sources

    for one in files:
        source = DataSource(path=one.path, columns=one.columns, label_maps=one.label_maps)
        records = load_sources([source], [task]).labelled(task)
        name = Path(one.path).name
        columns = {
            column: records.column(column) if column in records.frame.columns else [None] * len(records)
            for column in ("labelled_by", "key_id", "subject")
        }
        labels = records.frame.get_column(task.name).to_list()
        texts = zip(*(records.frame.get_column(part).to_list() for part in ("prompt", "response")), strict=True)
        for place, (prompt, response) in enumerate(texts):
            labelled_by = columns["labelled_by"][place] or one.labelled_by
            if labelled_by not in get_args(LabelSource):
                raise LabelError(
                    f"row {place + 1} of {one.path} was labelled by '{show_label(labelled_by)}'; give one of "
                    f"{', '.join(get_args(LabelSource))}"
                )
            found.counts["from_files"] += 1
            found.texts.append({"id": f"{name}:{place + 1}", "prompt": prompt, "response": response})
            found.votes.append(
                Vote(
                    text="",
                    row=len(found.texts) - 1,
                    label=labels[place],
                    source=labelled_by,
                    at=at,
                    key=str(columns["key_id"][place] or f"file {name}"),
                    subject=str(columns["subject"][place] or ""),
                )
            )


def refuse_without_texts(found: Collected) -> None:
    """Say what to do where feedback is there and its texts are not.

    Raises
    ------
    DataError
        There is no text at all.
    """
    if found.texts:
        return
    missing = found.counts["without_text"]
    if missing:
        raise DataError(
            f"{missing} labelled answers were kept without their texts, so nothing can be learned from them; set "
            "text: {log: full} in the server's configuration, or give the texts with their labels in a file under "
            "retrain.tasks.TASK.files"
        )
    raise DataError(
        "there is no feedback to learn from; send some to POST /v1/feedback, or give labelled rows in a file "
        "under retrain.tasks.TASK.files"
    )


def judged_field(task: Task) -> str:
    """The text that a label of the task is about."""
    from demur.serve.pool import judged_field as field_of

    return field_of(task)
