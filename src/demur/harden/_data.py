"""Rows to break and rows to retain: read, and checked.

What a breaker learns from is the response, not the request, so a row without one is an error here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from demur.data import DataSource, Records, load_sources, text_keys
from demur.errors import DataError, EmptyDataError
from demur.harden._split import refuse_leaks, split_rows
from demur.llm import Conversation, Message

if TYPE_CHECKING:
    from demur.harden._config import HardenData, RetainSource

BREAKER = "breaker"
"""Kind of the rows to break."""


@dataclass(frozen=True)
class HardenRow:
    """A conversation to break or to retain."""

    id: str
    conversation: Conversation
    """Ends with the assistant's turn."""
    keys: tuple[str, ...]
    """Its requests, less the differences that do not count: all of them, and the last."""
    group: str | None = None
    """Rows of one group stand on one side."""
    category: str | None = None
    kind: str = BREAKER
    """``breaker``, or the kind of its retain source."""
    answer: str | None = None
    """What links a row to break by its last answer: that, less the differences that do not count."""

    @property
    def unasked(self) -> Conversation:
        """The last answer alone, to an empty request."""
        system = [one for one in self.conversation.messages[:1] if one.role == "system"]
        return Conversation((*system, Message("user", ""), self.conversation.messages[-1]))


@dataclass(frozen=True)
class HardenRows:
    """All rows of a run; retain rows by source, with the weights of the mixture."""

    breakers: tuple[HardenRow, ...]
    retain: tuple[tuple[HardenRow, ...], ...]
    shares: tuple[float, ...]
    breakers_valid: tuple[HardenRow, ...]
    """In an order whose beginning is a fair sample; so are the next."""
    retain_valid: tuple[HardenRow, ...]
    """Sources take turns."""
    left_out: int = 0
    """Rows that would be trained on, had not another source's own share held out their prompts."""

    def count(self) -> dict[str, Any]:
        """How many of each."""
        return {
            "breakers": len(self.breakers),
            "retain": [len(part) for part in self.retain],
            "breakers_valid": len(self.breakers_valid),
            "retain_valid": len(self.retain_valid),
        }


def load_rows(data: HardenData, seed: int) -> HardenRows:
    """Read all rows and make sure that nothing is trained on that is measured on.

    Parameters
    ----------
    data
        Where they are.
    seed
        Draws the prompts that are held out.

    Raises
    ------
    DataError
        A row has no response, or no request, or its messages cannot be read.
    EmptyDataError
        No row is left to train or to validate on.
    LeakError
        A prompt stands among the training rows and among those that validate or evaluate.
    """
    breakers = link_answers(_read(data.breakers, "breakers", seed), data)
    retain = [_read([source], "retain", seed) for source in data.retain]
    breakers_own = [_read([source], "breakers_valid", seed) for source in data.breakers_valid]
    retain_own = [_read([source], "retain_valid", seed) for source in data.retain_valid]
    found = split_rows([breakers, *retain], breakers_own, retain_own, data, seed)
    # Refusals of the very prompts that are broken are a usual part of what is retained: only sides are compared.
    trained = [row for part in found.train for row in part]
    refuse_leaks(trained, [*found.breakers_valid, *found.retain_valid], "validation")
    refuse_leaks(trained, _read_evaluation(data.evaluation, seed), "evaluation")
    return HardenRows(
        breakers=tuple(found.train[0]),
        retain=tuple(map(tuple, found.train[1:])),
        shares=tuple(source.share for source in data.retain),
        breakers_valid=tuple(found.breakers_valid),
        retain_valid=tuple(found.retain_valid),
        left_out=found.left_out,
    )


def link_answers(rows: list[HardenRow], data: HardenData) -> list[HardenRow]:
    """Rows to break of one answer, to stand on one side: the states along an answer are what is broken.

    As they are where prompts alone divide them, or where they have too few answers for a share to be held out.

    Parameters
    ----------
    rows
        To break.
    data
        What links rows, and the share that is held out.
    """
    answers = _normalise([row.conversation.messages[-1].content for row in rows])
    if data.split_by == "prompt" or len(set(answers)) < math.ceil(1 / data.held_out):
        return rows
    return [replace(row, answer=answer or None) for row, answer in zip(rows, answers, strict=True)]


def _read(sources: Sequence[DataSource | RetainSource], what: str, seed: int) -> list[HardenRow]:
    rows, keys = _load(sources, seed)
    if not rows:
        raise EmptyDataError(f"data.{what} holds no row; give at least one prompt with its response")
    kind = getattr(sources[0], "kind", BREAKER)
    return [_make_row(row, found, what, kind) for row, found in zip(rows, keys, strict=True)]


def _load(
    sources: Sequence[DataSource | RetainSource], seed: int
) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    """Rows as they stand in the files, and the keys of their requests."""
    plain = [DataSource(**source.model_dump(include=set(DataSource.model_fields))) for source in sources]
    rows = list(load_sources(plain, (), seed=seed).frame.iter_rows(named=True))
    asked = [_requests(row) for row in rows]
    keys = iter(_normalise([text for texts in asked for text in texts]))
    return rows, [tuple(dict.fromkeys(key for _ in texts if (key := next(keys)))) for texts in asked]


def _normalise(texts: list[str]) -> list[str]:
    if not texts:
        return []
    return text_keys(Records.from_rows({"prompt": text} for text in texts), ("prompt",)).to_list()


def _requests(row: dict[str, Any]) -> list[str]:
    """The prompt, and what the user says before the last answer: in all turns together, and in the last."""
    found = [row["prompt"] or ""]
    try:
        given = json.loads(row.get("messages") or "[]")
        answers = [place for place, one in enumerate(given) if one["role"] == "assistant"]
        said = [str(one["content"]) for one in given[: max(answers, default=len(given))] if one["role"] == "user"]
    except (ValueError, TypeError, KeyError):
        # Said by whoever reads the turns; of rows to be judged on they may be anything.
        said = []
    return [*found, " ".join(said), *said[-1:]]


def _make_row(row: dict[str, Any], keys: tuple[str, ...], what: str, kind: str) -> HardenRow:
    messages = _parse_messages(row, what) if row.get("messages") else _pair(row, what)
    if not keys:
        raise DataError(
            f"the conversation of row '{row['id']}' of data.{what} has no request; add the user's turn, or leave "
            "the row out"
        )
    group, category = (None if row.get(name) is None else str(row[name]) for name in ("group", "category"))
    return HardenRow(str(row["id"]), Conversation(messages), keys, group, category, kind)


def _pair(row: dict[str, Any], what: str) -> tuple[Message, ...]:
    if not (row["response"] or "").strip():
        raise DataError(
            f"row '{row['id']}' of data.{what} has no response; a breaker is trained on the states the model "
            "passes through while the response is written, so a prompt alone teaches it nothing: give every row "
            "its full response, or leave the row out"
        )
    if not (row["prompt"] or "").strip():
        raise DataError(f"row '{row['id']}' of data.{what} has a response and no prompt; add its prompt")
    return Message("user", row["prompt"]), Message("assistant", row["response"])


def _parse_messages(row: dict[str, Any], what: str) -> tuple[Message, ...]:
    try:
        found = tuple(Message(one["role"], one["content"]) for one in json.loads(row["messages"]))
    except (ValueError, TypeError, KeyError):
        raise DataError(
            f"the messages of row '{row['id']}' of data.{what} cannot be read; give a list of "
            '{"role": "user" or "assistant", "content": "..."}'
        ) from None
    if not all(isinstance(one.content, str) for one in found):
        raise DataError(
            f"a message of row '{row['id']}' of data.{what} has a content that is no text (a list of parts, or "
            "nothing); give its text, or leave the row out"
        )
    while found and found[-1].role != "assistant":
        found = found[:-1]
    if not found or not found[-1].content.strip():
        raise DataError(
            f"the conversation of row '{row['id']}' of data.{what} has no response of the assistant; give it "
            "one, or leave the row out: only the states of a response are trained on"
        )
    return found


def _read_evaluation(sources: Sequence[DataSource], seed: int) -> list[HardenRow]:
    """Prompts alone; only their keys and groups are looked at."""
    if not sources:
        return []
    rows, keys = _load(sources, seed)
    silent = [str(row["id"]) for row, found in zip(rows, keys, strict=True) if not found]
    if silent:
        raise DataError(
            f"row '{silent[0]}' of data.evaluation has no prompt, so nobody can tell whether it is trained on; "
            "add its prompt, or leave the row out"
        )
    asked = Conversation.from_prompt("?")
    return [
        HardenRow(str(row["id"]), asked, found, None if row.get("group") is None else str(row["group"]))
        for row, found in zip(rows, keys, strict=True)
    ]
