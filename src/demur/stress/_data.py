"""The prompts a grid judges by and the rows its attacks may use: read, checked, and kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from demur.data import DataSource, load_sources, text_keys
from demur.errors import DataError, EmptyDataError, LeakError
from demur.llm import Conversation
from demur.paths import hash_value
from demur.stress._config import StressConfig
from demur.stress._protocol import Material


@dataclass(frozen=True)
class StressPrompt:
    """A prompt that models are judged by."""

    id: str
    kind: str
    """``harmful`` or ``safe``."""
    text: str
    category: str | None = None

    @property
    def conversation(self) -> Conversation:
        """As it is asked."""
        return Conversation.from_prompt(self.text)


@dataclass(frozen=True)
class StressRows:
    """All that a grid reads."""

    prompts: tuple[StressPrompt, ...]
    """Harmful ones first."""
    material: Material
    texts: tuple[Conversation, ...]
    repeated: int = 0
    """Prompts to judge by that stood there more than once, and were left out."""

    @property
    def prompts_hash(self) -> str:
        """SHA-256 of what is asked."""
        return hash_value([[one.id, one.kind, one.text] for one in self.prompts])

    @property
    def texts_hash(self) -> str:
        """SHA-256 of what perplexity and KL are measured on."""
        return hash_value(_plain(self.texts))

    @property
    def material_hash(self) -> str:
        """SHA-256 of what attacks may use."""
        parts = ("compliance", "benign", "harmful_prompts", "harmless_prompts")
        return hash_value({name: _plain(getattr(self.material, name)) for name in parts})


@dataclass(frozen=True)
class _Row:
    id: str
    key: str
    prompt: str
    response: str
    category: str | None


def load_stress_rows(config: StressConfig) -> StressRows:
    """Read all files, and make sure that no prompt stands on both sides.

    Parameters
    ----------
    config
        Where they are, and how many prompts of a kind are wanted.

    Raises
    ------
    EmptyDataError
        There is no harmful prompt.
    DataError
        A file cannot be read, or a row to train on lacks its prompt or its answer.
    LeakError
        A prompt is both trained on and judged by.
    """
    data = config.data
    listed = {kind: _read(getattr(data, kind), kind) for kind in ("harmful", "safe")}
    once = {kind: _drop_repeats(found) for kind, found in listed.items()}
    judged = {kind: _choose(found, config.limit) for kind, found in once.items()}
    if not judged["harmful"]:
        raise EmptyDataError(
            "data.harmful holds no prompt, so there is nothing that should be refused; give at least one"
        )
    trained = {name: _read(getattr(data, name), name) for name in ("compliance", "benign")}
    plain = {name: _read(getattr(data, name), name) for name in ("harmful_train", "harmless_train")}
    texts = _read(data.texts, "texts")
    _refuse_both(judged)
    sides = {**trained, **plain}
    for kind, rows in (*judged.items(), ("texts", texts)):
        _refuse_leaks(sides, rows, kind)
    prompts = tuple(
        StressPrompt(f"{kind}:{row.id}", kind, row.prompt, row.category)
        for kind, rows in judged.items()
        for row in rows
    )
    material = Material(
        _answered(trained["compliance"], "compliance"),
        _answered(trained["benign"], "benign"),
        _asked(plain["harmful_train"] or trained["compliance"]),
        _asked(plain["harmless_train"] or trained["benign"]),
    )
    repeated = sum(len(listed[kind]) - len(once[kind]) for kind in listed)
    return StressRows(prompts, material, _answered(texts, "texts"), repeated)


def _read(sources: Sequence[DataSource], what: str) -> list[_Row]:
    if not sources:
        return []
    try:
        records = load_sources(list(sources), ())
    except EmptyDataError as error:
        raise EmptyDataError(f"data.{what}: {error}") from error
    keys = text_keys(records, ("prompt",)).to_list()
    found = [
        _Row(row["id"], key, row["prompt"] or "", row["response"] or "", _category(row))
        for row, key in zip(records.frame.iter_rows(named=True), keys, strict=True)
    ]
    silent = [row.id for row in found if not row.key]
    if silent:
        raise DataError(f"row '{silent[0]}' of data.{what} has no prompt; add it, or leave the row out")
    return found


def _category(row: dict[str, Any]) -> str | None:
    found = row.get("category")
    return None if found is None else str(found)


def _drop_repeats(rows: list[_Row]) -> list[_Row]:
    """A prompt that stands there twice would count twice, and narrow the intervals for nothing."""
    return list({row.key: row for row in reversed(rows)}.values())[::-1]


def _choose(rows: list[_Row], limit: int | None) -> list[_Row]:
    """At most so many rows, as evenly from all categories as can be, always the same; in the file's order.

    A smaller limit takes a part of what a larger one takes.
    """
    if limit is None or limit >= len(rows):
        return rows
    groups: dict[str | None, list[int]] = {}
    order = np.random.default_rng(0).permutation(len(rows))
    for place in order.tolist():
        groups.setdefault(rows[place].category, []).append(place)
    turns = [place for turn in zip_longest(*groups.values()) for place in turn if place is not None]
    return [rows[place] for place in sorted(turns[:limit])]


def _refuse_both(judged: dict[str, list[_Row]]) -> None:
    """Prompts that are harmful and safe at once have no right answer."""
    harmful = {row.key for row in judged["harmful"]}
    both = [row.id for row in judged["safe"] if row.key in harmful]
    if both:
        raise DataError(
            f"{len(both)} prompts are both harmful and safe, such as '{both[0]}'; take them out of one of the "
            "files"
        )


def _refuse_leaks(sides: dict[str, list[_Row]], rows: list[_Row], kind: str) -> None:
    for name, trained in sides.items():
        known = {row.key for row in trained}
        shared = [row.id for row in rows if row.key in known]
        if shared:
            raise LeakError(
                f"{len(shared)} of the {len(rows)} prompts of data.{kind} are in data.{name} too, such as "
                f"{', '.join(shared[:3])}; an attack would be judged by what it was trained on: take them out of "
                "one of the files"
            )


def _answered(rows: list[_Row], what: str) -> tuple[Conversation, ...]:
    missing = [row.id for row in rows if not row.response.strip()]
    if missing:
        raise DataError(
            f"row '{missing[0]}' of data.{what} has no response, and there is nothing else to train on; add it, "
            "or leave the row out"
        )
    return tuple(Conversation.from_prompt(row.prompt).answer(row.response) for row in rows)


def _asked(rows: list[_Row]) -> tuple[Conversation, ...]:
    return tuple(Conversation.from_prompt(row.prompt) for row in rows)


def _plain(conversations: Sequence[Conversation]) -> list[Any]:
    return [[[turn.role, turn.content] for turn in one.messages] for one in conversations]
