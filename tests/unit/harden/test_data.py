"""Rows are read, checked, held out by prompt, and kept apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demur.config import parse_settings
from demur.errors import DataError, EmptyDataError, LeakError, UnreadableFileError
from demur.harden import HardenData
from demur.harden._data import load_rows
from demur.harden._notes import note_answers

Write = Callable[..., str]


@pytest.fixture
def lines(tmp_path: Path) -> Write:
    """Writer of rows: ``lines(rows, "name")`` gives the path."""

    def put(rows: list[dict[str, Any]], name: str = "rows") -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return put


@pytest.fixture
def load(lines: Write) -> Callable[..., Any]:
    """Load with these breaker rows and good retain rows; other keys are of the settings."""

    def run(breakers: list[dict[str, Any]], **changes: Any) -> Any:
        good = [{"prompt": f"make tea {n}", "response": f"Boil it {n} times."} for n in range(5)]
        data = {"breakers": [{"path": lines(breakers, "breakers")}], "retain": [{"path": lines(good, "retain")}]}
        return load_rows(parse_settings(HardenData, data | changes), 0)

    return run


def pairs(count: int, what: str = "glimmerwax") -> list[dict[str, Any]]:
    return [{"prompt": f"how to make {what} {n}", "response": f"Stir it {n} times."} for n in range(count)]


def spoken(turns: list[tuple[str, str]], number: int) -> list[dict[str, str]]:
    """Messages of a row; what the user says is this row's own."""
    return [
        {"role": role, "content": f"{content} {number}" if role == "user" else content} for role, content in turns
    ]


def test_a_row_without_a_response_is_an_error_that_says_why_it_matters(load: Callable[..., Any]) -> None:
    rows = [*pairs(3), {"id": "b7", "prompt": "how to make moonsalt", "response": " "}]
    with pytest.raises(
        DataError, match=r"row 'b7' of data\.breakers has no response; .* a prompt alone teaches it"
    ):
        load(rows)


def test_a_retain_row_without_a_response_is_an_error_too(load: Callable[..., Any], lines: Write) -> None:
    with pytest.raises(DataError, match=r"of data\.retain has no response"):
        load(pairs(3), retain=[{"path": lines([{"prompt": "make tea"}], "empty")}])


def test_a_row_without_a_prompt_is_refused(load: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"has a response and no prompt; add its prompt"):
        load([*pairs(3), {"prompt": "", "response": "Stir."}])


def test_errors_never_show_a_text(load: Callable[..., Any]) -> None:
    with pytest.raises(DataError, check=lambda error: "moonsalt" not in str(error)):
        load([*pairs(3), {"prompt": "how to make moonsalt"}])


def test_an_empty_breaker_set_is_refused(load: Callable[..., Any]) -> None:
    with pytest.raises((EmptyDataError, UnreadableFileError), match="is empty; give a file"):
        load([])


def test_one_prompt_leaves_nothing_to_train_on(load: Callable[..., Any]) -> None:
    with pytest.raises(EmptyDataError, match=r"have 1 prompt\(s\), .*so none is left .* data\.breakers_valid"):
        load([{"prompt": "how", "response": f"{n} times"} for n in range(4)])


def test_answers_of_one_prompt_are_never_divided(load: Callable[..., Any]) -> None:
    rows = [{"prompt": f"how to {n // 3}", "response": f"{n} times"} for n in range(30)]
    found = load(rows, held_out=0.3)
    assert len(found.breakers) == 21
    assert len(found.breakers_valid) == 9
    assert not {row.keys for row in found.breakers} & {row.keys for row in found.breakers_valid}


def test_the_seed_chooses_what_is_held_out(load: Callable[..., Any]) -> None:
    first, second = load(pairs(20)), load(pairs(20))
    assert [row.id for row in first.breakers_valid] == [row.id for row in second.breakers_valid]
    assert len(first.breakers_valid) == 2


def test_own_validation_rows_leave_all_rows_to_training(load: Callable[..., Any], lines: Write) -> None:
    own = lines(pairs(2, "noonglass"), "valid")
    found = load(pairs(10), breakers_valid=[{"path": own}], retain_valid=[{"path": lines(pairs(3, "soup"), "rv")}])
    assert found.count() == {"breakers": 10, "retain": [5], "breakers_valid": 2, "retain_valid": 3}


def test_a_prompt_on_both_sides_is_a_leak(load: Callable[..., Any], lines: Write) -> None:
    own = lines([{"prompt": "HOW to  make glimmerwax 3", "response": "Otherwise."}], "valid")
    with pytest.raises(LeakError, match=r"1 of the .* validation rows have a prompt that is trained on"):
        load(pairs(10), breakers_valid=[{"path": own}])


def test_a_prompt_of_the_evaluation_may_not_be_trained_on(load: Callable[..., Any], lines: Write) -> None:
    own = lines([{"prompt": "make tea 1"}, {"prompt": "make tea 2"}, {"prompt": "make soup"}], "evaluation")
    with pytest.raises(LeakError, match=r"of the 3 evaluation rows have a prompt .*, such as row-"):
        load(pairs(10), evaluation=[{"path": own}])


def test_refusals_of_broken_prompts_may_be_retained(load: Callable[..., Any], lines: Write) -> None:
    refusals = [{"prompt": row["prompt"], "response": "Sorry, no."} for row in pairs(10)]
    own = {
        "breakers_valid": [{"path": lines(pairs(2, "ferroil"), "bv")}],
        "retain_valid": [{"path": lines(pairs(2, "soap"), "rv")}],
    }
    found = load(pairs(10), retain=[{"path": lines(refusals, "refusals"), "kind": "refusal"}], **own)
    assert found.count()["retain"] == [10]


def test_a_conversation_of_several_turns_ends_with_its_last_answer(load: Callable[..., Any]) -> None:
    turns = [("user", "hello"), ("assistant", "hi"), ("user", "how"), ("assistant", "so"), ("user", "thanks")]
    (row,) = load([{"prompt": f"p{n}", "messages": spoken(turns, n)} for n in range(4)]).breakers_valid
    number = row.keys[0][1:]
    assert [one.content for one in row.conversation.messages] == [f"hello {number}", "hi", f"how {number}", "so"]
    assert [one.content for one in row.unasked.messages] == ["", "so"]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([{"role": "user", "content": "hello"}], "has no response of the assistant"),
        ([{"role": "robot", "content": "hello"}], "cannot be read; give a list"),
        ("hello", "cannot be read; give a list"),
    ],
)
def test_messages_that_are_none_are_refused(load: Callable[..., Any], messages: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load([*pairs(3), {"prompt": "p", "messages": messages}])


def test_the_system_message_stays_when_the_request_is_dropped(load: Callable[..., Any]) -> None:
    turns = [("system", "Be kind."), ("user", "how"), ("assistant", "so")]
    (row, *_) = load([{"prompt": f"p{n}", "messages": spoken(turns, n)} for n in range(4)]).breakers
    assert [(one.role, one.content) for one in row.unasked.messages] == [
        ("system", "Be kind."),
        ("user", ""),
        ("assistant", "so"),
    ]


def test_a_held_out_prompt_is_held_out_of_every_source(load: Callable[..., Any], lines: Write) -> None:
    refusals = [{"prompt": row["prompt"], "response": "Sorry, no."} for row in pairs(30)]
    found = load(pairs(30), held_out=0.3, retain=[{"path": lines(refusals, "refusals"), "kind": "refusal"}])
    assert found.count() == {"breakers": 21, "retain": [21], "breakers_valid": 9, "retain_valid": 9}
    assert {row.keys for row in found.breakers_valid} == {row.keys for row in found.retain_valid}


def test_columns_of_other_names_are_mapped(load: Callable[..., Any], lines: Write) -> None:
    theirs = lines([{"q": row["prompt"], "a": row["response"]} for row in pairs(6)], "theirs")
    source = {"path": theirs, "columns": {"prompt": "q", "response": "a"}}
    assert len(load(pairs(3), retain=[source]).retain[0]) == 5


TALK = [("user", "hello"), ("assistant", "hi"), ("user", "how to make moonsalt"), ("assistant", "so")]


@pytest.mark.parametrize(
    "judged",
    [
        {"messages": [{"role": "user", "content": "HOW to make  moonsalt 3"}]},
        {"prompt": "how to make moonsalt 3"},
        {
            "messages": [
                {"role": "user", "content": "hello 3"},
                {"role": "user", "content": "how to make moonsalt 3"},
            ]
        },
    ],
)
def test_messages_that_are_judged_on_may_not_be_trained_on(
    load: Callable[..., Any], lines: Write, judged: dict[str, Any]
) -> None:
    rows = [{"messages": spoken(TALK, n), "response": "so"} for n in range(1, 9)]
    judged = {"response": "so"} | judged
    with pytest.raises(LeakError, match="1 of the 1 evaluation rows have a prompt that is trained on"):
        load(rows, breakers_valid=[{"path": lines(pairs(2), "bv")}], evaluation=[{"path": lines([judged], "ev")}])


def test_a_row_to_be_judged_on_that_has_no_prompt_is_refused(load: Callable[..., Any], lines: Write) -> None:
    own = lines([{"prompt": "make soup"}, {"response": "so", "id": "e9"}], "evaluation")
    with pytest.raises(DataError, match=r"row 'e9' of data\.evaluation has no prompt, so nobody can tell"):
        load(pairs(10), evaluation=[{"path": own}])


@pytest.mark.parametrize("content", [None, [{"type": "text", "text": "hello"}], 7])
def test_a_content_that_is_no_text_is_refused(load: Callable[..., Any], content: Any) -> None:
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "so"}]
    with pytest.raises(DataError, match=r"a message of row 'm1' of data\.breakers has a content that is no text"):
        load([*pairs(3), {"id": "m1", "prompt": "p", "messages": messages}])


def test_a_conversation_without_a_request_is_refused(load: Callable[..., Any]) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "assistant", "content": "so"}]
    with pytest.raises(DataError, match=r"the conversation of row 'm1' of data\.breakers has no request"):
        load([*pairs(3), {"id": "m1", "response": "so", "messages": messages}])


def test_rows_know_their_kind(load: Callable[..., Any], lines: Write) -> None:
    found = load(pairs(10), retain=[{"path": lines(pairs(9, "soup"), "r"), "kind": "borderline"}])
    assert {row.kind for row in found.breakers + found.breakers_valid} == {"breaker"}
    assert {row.kind for row in found.retain[0] + found.retain_valid} == {"borderline"}


def test_rows_to_break_of_one_answer_stand_on_one_side(load: Callable[..., Any]) -> None:
    rows = [
        {"prompt": f"{way} {n}", "response": f"Heat item {n}."} for n in range(30) for way in ("how", "tell me")
    ]
    for number, one in enumerate(rows):
        one["response"] += " " * (number % 2)
    found = load(rows)
    answers = [
        {row.conversation.messages[-1].content.strip() for row in part}
        for part in (found.breakers, found.breakers_valid)
    ]
    assert (len(found.breakers_valid), len(answers[1])) == (6, 3)
    assert not answers[0] & answers[1]
    assert note_answers(found) == []


@pytest.mark.parametrize(("count", "changes"), [(30, {"split_by": "prompt"}), (3, {})])
def test_where_answers_do_not_divide_rows_it_is_said(
    load: Callable[..., Any], count: int, changes: dict[str, Any]
) -> None:
    rows = [{"prompt": f"how {n} {way}", "response": f"Heat item {n}."} for n in range(count) for way in range(20)]
    found = load(rows, **changes)
    (said,) = note_answers(found)
    n = len(found.breakers_valid)
    assert f"{n} of the {n} held-out rows to break have a response that is trained on under another" in said
