"""What is asked for in a conversation, and asking it otherwise."""

from __future__ import annotations

from collections.abc import Callable

from demur.llm import Conversation, Message


def read_request(conversation: Conversation) -> str:
    """The text of the user's last turn; empty where the user says nothing.

    Parameters
    ----------
    conversation
        A prompt.
    """
    return next((one.content for one in reversed(conversation.messages) if one.role == "user"), "")


def change_request(conversation: Conversation, change: Callable[[str], str]) -> Conversation:
    """The conversation with another text of the user's last turn; the rest is kept.

    Parameters
    ----------
    conversation
        A prompt.
    change
        From the text to the new one.
    """
    messages = list(conversation.messages)
    for place in reversed(range(len(messages))):
        if messages[place].role == "user":
            messages[place] = Message("user", change(messages[place].content))
            break
    return Conversation(tuple(messages), conversation.prefill)
