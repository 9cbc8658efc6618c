"""What is asked for is the user's last turn; the rest of a conversation stays as it is."""

from demur.llm import Conversation, Message
from demur.stress._requests import change_request, read_request

LONG = Conversation(
    (Message("system", "Be brief."), Message("user", "one"), Message("assistant", "1"), Message("user", "two")),
    prefill="Well",
)


def test_the_request_is_the_last_turn_of_the_user():
    assert read_request(LONG) == "two"
    assert read_request(Conversation((Message("system", "Be brief."),))) == ""


def test_only_the_last_turn_of_the_user_changes():
    found = change_request(LONG, str.upper)
    assert [one.content for one in found.messages] == ["Be brief.", "one", "1", "TWO"]
    assert [one.role for one in found.messages] == [one.role for one in LONG.messages]
    assert found.prefill == "Well"


def test_a_conversation_without_a_user_is_left_alone():
    bare = Conversation((Message("system", "Be brief."),))
    assert change_request(bare, str.upper) == bare
