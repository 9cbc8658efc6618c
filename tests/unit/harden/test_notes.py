"""What is said beside the figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demur.harden import Validation
from demur.harden._data import HardenRow, HardenRows
from demur.harden._notes import count_left_out, note_cosine, note_rows
from demur.llm import Conversation


def at(**cosine: float) -> Validation:
    found = {int(layer[1:]): value for layer, value in cosine.items()}
    return Validation(9, found, dict.fromkeys(found, 1.0), {1: 0.1})


def test_a_breaker_that_did_not_turn_is_named_with_layer_and_remedy(make_config: Callable[..., Any]) -> None:
    (said,) = note_cosine(make_config(learning_rate=1e-4), [at(l9=0.1, l19=0.2), at(l9=0.25, l19=0.994)])
    assert "cosine 0.994 at layer 19, and below 0.3 is wanted" in said
    assert "Raise learning_rate first (it was 0.0001;" in said
    assert "lower retain_weight (it was 1;" in said


@pytest.mark.parametrize("history", [[], [at(l9=0.9), at(l9=0.29)]])
def test_a_breaker_that_turned_needs_no_word(make_config: Callable[..., Any], history: list[Validation]) -> None:
    assert note_cosine(make_config(), history) == []


def test_other_objectives_want_no_cosine(make_config: Callable[..., Any]) -> None:
    assert note_cosine(make_config(objective="random_vector"), [at(l9=0.9)]) == []


def test_rows_that_were_left_out_are_counted_and_said(make_config: Callable[..., Any]) -> None:
    row = HardenRow("a", Conversation.from_prompt("how"), ("how",))
    read = HardenRows((row,) * 5, ((row,) * 4,), (1.0,), (row,) * 2, (row,) * 2, left_out=3)
    used = HardenRows((row,) * 4, ((row,) * 4,), (1.0,), (row,), (row,) * 2, left_out=3)
    left_out = count_left_out(read, used)
    assert left_out == {"held_out": 3, "unusable": 2}
    said = " ".join(note_rows(make_config(), left_out, is_cut=True))
    assert "3 rows with prompts that another source holds out were neither trained on" in said
    assert "2 rows were left out: their answers begin beyond the first 96 tokens" in said
    assert "cut where the model reads no more" in said


def test_nothing_is_said_where_all_rows_are_used(make_config: Callable[..., Any]) -> None:
    assert note_rows(make_config(), {"held_out": 0, "unusable": 0}, is_cut=False) == []
