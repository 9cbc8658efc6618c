"""Conversations are turns in order, and refuse what no model could be asked."""

import pytest

from demur.errors import UsageError
from demur.llm import ChatRow, Conversation, Message, Reply


def test_a_prompt_becomes_a_users_turn():
    assert Conversation.from_prompt("tea?", "Sure,").messages == (Message("user", "tea?"),)
    assert Conversation.from_prompt("tea?", "Sure,").prefill == "Sure,"


def test_an_answer_holds_its_prefill_and_is_a_turn():
    answered = Conversation.from_prompt("tea?", "Sure,").answer(" hot.")
    assert answered.messages[-1] == Message("assistant", "Sure, hot.")
    assert answered.is_answered
    assert answered.prefill == ""


def test_an_unknown_role_is_refused():
    with pytest.raises(UsageError, match="role 'robot'; give one of system, user, assistant"):
        Message("robot", "x")


def test_a_conversation_without_turns_is_refused():
    with pytest.raises(UsageError, match="has no message"):
        Conversation(())


def test_a_prefill_after_an_answer_is_refused():
    with pytest.raises(UsageError, match="ends with an assistant's turn and has a prefill"):
        Conversation((Message("assistant", "x"),), "y")


def test_a_reply_is_a_json_object():
    assert Reply("a", (1, 2), True).to_json() == {"text": "a", "token_ids": [1, 2], "is_finished": True}


def test_the_length_of_a_row_is_its_tokens(target):
    row = target.encode(Conversation.from_prompt("the cat"))
    assert isinstance(row, ChatRow)
    assert len(row) == len(row.ids) == len(row.assistant)
