"""Rows to break and rows to retain: read, checked, divided into training and validation, and kept apart.

What a breaker learns from is the response, not the request, so a row without one is an error here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from demur.data import DataSource, load_sources, text_keys
from demur.errors import DataError, EmptyDataError, LeakError
from demur.llm import Conversation, Message

if TYPE_CHECKING:
    from demur.data import Records
    from demur.harden._config import HardenData, RetainSource


@dataclass(frozen=True)
class HardenRow:
    """A conversation to break or to retain."""

    id: str
    conversation: Conversation
    """Ends with the assistant's turn."""
    key: str
    """Its request, less the differences that do not count."""

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
    retain_valid: tuple[HardenRow, ...]

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
    divider = _Divider(data.held_out, seed)
    breakers, breakers_valid = divider.divide(
        _read(data.breakers, "breakers", seed), "breakers", data.breakers_valid
    )
    retain, retain_valid = [], []
    for source in data.retain:
        train, valid = divider.divide(_read([source], "retain", seed), "retain", data.retain_valid)
        retain.append(train)
        retain_valid += valid
    if data.breakers_valid:
        breakers_valid = _read(data.breakers_valid, "breakers_valid", seed)
    if data.retain_valid:
        retain_valid = _read(data.retain_valid, "retain_valid", seed)
    # Refusals of the very prompts that are broken are a usual part of what is retained: only sides are compared.
    trained = [*breakers, *(row for part in retain for row in part)]
    _refuse_leaks(trained, [*breakers_valid, *retain_valid], "validation")
    _refuse_leaks(trained, _read_prompts(data.evaluation, seed), "evaluation")
    shares = tuple(source.share for source in data.retain)
    return HardenRows(
        tuple(breakers), tuple(map(tuple, retain)), shares, tuple(breakers_valid), tuple(retain_valid)
    )


def _read(sources: Sequence[DataSource | RetainSource], what: str, seed: int) -> list[HardenRow]:
    plain = [DataSource(**source.model_dump(include=set(DataSource.model_fields))) for source in sources]
    records = load_sources(plain, (), seed=seed)
    if not len(records):
        raise EmptyDataError(f"data.{what} holds no row; give at least one prompt with its response")
    keys = text_keys(records, ("prompt",)).to_list()
    return [_make_row(row, key, what) for row, key in zip(records.frame.iter_rows(named=True), keys, strict=True)]


def _make_row(row: dict[str, Any], key: str, what: str) -> HardenRow:
    messages = _parse_messages(row, what) if row.get("messages") else _pair(row, what)
    asked = " ".join(one.content for one in messages if one.role == "user")
    return HardenRow(str(row["id"]), Conversation(messages), key or " ".join(asked.lower().split()))


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
        given = json.loads(row["messages"])
        found = tuple(Message(one["role"], str(one["content"])) for one in given)
    except (ValueError, TypeError, KeyError):
        raise DataError(
            f"the messages of row '{row['id']}' of data.{what} cannot be read; give a list of "
            '{"role": "user" or "assistant", "content": "..."}'
        ) from None
    while found and found[-1].role != "assistant":
        found = found[:-1]
    if not found or not found[-1].content.strip():
        raise DataError(
            f"the conversation of row '{row['id']}' of data.{what} has no response of the assistant; give it "
            "one, or leave the row out: only the states of a response are trained on"
        )
    return found


class _Divider:
    """Divides sources into training and validation rows by prompt; a prompt is on one side in all of them."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._random = np.random.default_rng([seed, 17])
        self._is_held: dict[str, bool] = {}

    def divide(
        self, rows: list[HardenRow], what: str, own: Sequence[DataSource]
    ) -> tuple[list[HardenRow], list[HardenRow]]:
        """All rows to training where own ones are given for validation, else a share of the prompts held out."""
        prompts = sorted({row.key for row in rows})
        if own:
            self._is_held |= dict.fromkeys(prompts, False)
            return rows, []
        free = [prompt for prompt in prompts if prompt not in self._is_held]
        held = sum(self._is_held.get(prompt, False) for prompt in prompts)
        wanted = max(1, round(len(prompts) * self._share)) - held
        drawn = set(self._random.permutation(free)[: max(0, wanted)])
        self._is_held |= {prompt: prompt in drawn for prompt in free}
        train = [row for row in rows if not self._is_held[row.key]]
        if not train:
            raise EmptyDataError(
                f"the {len(rows)} rows of a source of data.{what} have {len(prompts)} prompt(s), so none is left "
                f"to train on once some are held out; give more prompts, or own rows as data.{what}_valid"
            )
        return train, [row for row in rows if self._is_held[row.key]]


def _read_prompts(sources: Sequence[DataSource], seed: int) -> list[HardenRow]:
    if not sources:
        return []
    records: Records = load_sources(list(sources), (), seed=seed)
    keys = text_keys(records, ("prompt",)).to_list()
    ids = records.frame.get_column("id").to_list()
    # Only their keys are looked at.
    return [HardenRow(id, Conversation.from_prompt("?"), key) for id, key in zip(ids, keys, strict=True)]


def _refuse_leaks(train: Iterable[HardenRow], held: Sequence[HardenRow], what: str) -> None:
    known = {row.key for row in train}
    shared = [row.id for row in held if row.key in known]
    if shared:
        raise LeakError(
            f"{len(shared)} of the {len(held)} {what} rows have a prompt that is trained on, such as "
            f"{', '.join(shared[:3])}; a breaker would be praised for what it has seen: take them out of one side"
        )
