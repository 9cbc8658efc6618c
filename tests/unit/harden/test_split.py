"""Rows are held out by prompt and group in every source at once; validation rows come evenly from all."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.config import parse_settings
from demur.errors import EmptyDataError, LeakError
from demur.harden import HardenData
from demur.harden._data import HardenRow
from demur.harden._split import SplitRows, refuse_leaks, split_rows, take_turns
from demur.llm import Conversation


def row(prompt: str, group: str | None = None, category: str | None = None, kind: str = "breaker") -> HardenRow:
    return HardenRow(prompt, Conversation.from_prompt(prompt), (prompt,), group, category, kind)


def rows(what: str, count: int, by: str = "", each: int = 1, start: int = 0) -> list[HardenRow]:
    """Rows of different prompts; ``each`` of them share a group or a category."""
    places = range(start, start + count)
    return [row(f"{what} {n}", **({by: f"{by}{n // each}"} if by else {})) for n in places]


def split(sources: list[list[HardenRow]], own: Any = ((), ()), seed: int = 0, **changes: Any) -> SplitRows:
    given = {"breakers": [{"path": "b"}], "retain": [{"path": "r"}]}
    data = parse_settings(HardenData, given | changes)
    return split_rows(sources, [list(part) for part in own[0]], [list(part) for part in own[1]], data, seed)


def sides(found: SplitRows, name: str) -> tuple[set[Any], set[Any]]:
    train = {getattr(one, name) for part in found.train for one in part}
    return train, {getattr(one, name) for one in [*found.breakers_valid, *found.retain_valid]}


@given(sizes=st.lists(st.integers(2, 30), min_size=1, max_size=4), seed=st.integers(0, 50))
def test_no_group_stands_on_both_sides_and_no_row_is_lost(sizes: list[int], seed: int) -> None:
    # The same groups in every source, under other prompts.
    sources = [rows(f"source {number}", size, "group", 2) for number, size in enumerate([40, *sizes])]
    try:
        found = split(sources, seed=seed, held_out=0.3)
    except EmptyDataError:
        return
    train, held = sides(found, "group")
    assert not train & held
    assert sum(map(len, found.train)) + len(found.breakers_valid) + len(found.retain_valid) == 40 + sum(sizes)
    assert len({one.group for one in found.breakers_valid}) == 6


def test_rows_of_one_substance_are_not_divided_by_their_wording() -> None:
    breakers = rows("how to", 36, "category", 3)
    refusals = [row(f"please {one.id}", category=one.category, kind="refusal") for one in breakers]
    train, held = sides(split([breakers, refusals]), "category")
    assert len(held) == 1
    assert not train & held


def test_categories_too_large_to_be_held_out_divide_nothing() -> None:
    found = split([rows("how to", 40, "category", 10), rows("make", 40)])
    assert len(found.breakers_valid) == 4
    assert len({one.category for one in found.breakers_valid}) > 1


def test_prompts_alone_divide_where_that_is_asked_for() -> None:
    found = split([rows("how to", 36, "category", 3), rows("make", 40)], split_by="prompt")
    assert len(found.breakers_valid) == 4
    assert len({one.category for one in found.breakers_valid}) > 2


def test_categories_divide_where_that_is_asked_for() -> None:
    found = split([rows("how to", 40, "category", 10), rows("make", 40)], split_by="category")
    assert len(found.breakers_valid) == 10
    assert len({one.category for one in found.breakers_valid}) == 1


def test_one_group_leaves_nothing_to_train_on() -> None:
    with pytest.raises(EmptyDataError, match=r"have 1 prompt\(s\), groups counted as one, .*split_by: prompt"):
        split([rows("how to", 9, "group", 9), rows("make", 9)])


def test_what_one_source_holds_out_another_with_own_rows_does_not_train_on() -> None:
    """Own rows to validate the retaining do not put held-out prompts of the breakers back into training."""
    breakers = rows("how to", 20)
    refusals = [row(one.id, kind="refusal") for one in breakers]
    found = split([breakers, refusals], ((), [rows("soup", 3)]))
    held = {one.id for one in found.breakers_valid}
    assert len(held) == 2
    assert found.left_out == 2
    assert not held & {one.id for part in found.train for one in part}
    assert [len(part) for part in found.train] == [18, 18]


def test_prompts_of_a_source_with_own_rows_are_touched_last() -> None:
    retain = [*rows("how to", 10), *rows("make", 10)]
    found = split([rows("how to", 10), retain], ([rows("soup", 3)], ()), held_out=0.4)
    assert found.left_out == 0
    assert len(found.retain_valid) == 8


def test_the_order_of_rows_has_no_say() -> None:
    breakers, retain = rows("how to", 20, "group", 2), rows("make", 20)
    one, other = split([breakers, retain]), split([breakers[::-1], retain[::-1]])
    assert sides(one, "id") == sides(other, "id")


def test_sources_take_turns_in_a_drawn_order() -> None:
    parts = [rows("chat", 40), rows("refusal", 5), rows("borderline", 20)]
    found = take_turns(parts, [0])
    assert Counter(one.id.split()[0] for one in found[:15]) == {"chat": 5, "refusal": 5, "borderline": 5}
    assert sorted(one.id for one in found) == sorted(one.id for part in parts for one in part)
    assert found == take_turns(parts, [0])
    assert [one.id for one in found if "chat" in one.id] != [one.id for one in parts[0]]


def test_a_group_on_both_sides_is_a_leak() -> None:
    with pytest.raises(LeakError, match=r"1 of the 2 validation rows .* or its group, such as b;"):
        refuse_leaks([row("a", "g1")], [row("b", "g1"), row("c")], "validation")


def test_categories_and_rows_without_group_are_no_leak() -> None:
    refuse_leaks([row("a", category="c1")], [row("b", category="c1")], "validation")
