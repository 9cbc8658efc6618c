"""Conversations, what a model answers to them, and the same as tokens; no library of models is needed here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from demur.errors import UsageError

TokenIds = NDArray[np.int32]
Role = Literal["system", "user", "assistant"]
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn.

    Raises
    ------
    UsageError
        The role is none of ``system``, ``user``, ``assistant``.
    """

    role: Role
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UsageError(f"a message has the role '{self.role}'; give one of {', '.join(ROLES)}")


@dataclass(frozen=True)
class Conversation:
    """Turns in order.

    Raises
    ------
    UsageError
        There is no turn, or an answer is to be begun where there is one already.
    """

    messages: tuple[Message, ...]
    prefill: str = ""
    """What the assistant's next answer is made to begin with."""

    def __post_init__(self) -> None:
        if not self.messages:
            raise UsageError("a conversation has no message; give at least the user's")
        if self.prefill and self.is_answered:
            raise UsageError(
                "a conversation ends with an assistant's turn and has a prefill; leave out one of them"
            )

    @classmethod
    def from_prompt(cls, prompt: str, prefill: str = "") -> Conversation:
        """A user's single request.

        Parameters
        ----------
        prompt
            The request.
        prefill
            What the answer is made to begin with.
        """
        return cls((Message("user", prompt),), prefill)

    @property
    def is_answered(self) -> bool:
        """Whether the last turn is the assistant's."""
        return self.messages[-1].role == "assistant"

    def answer(self, text: str) -> Conversation:
        """The conversation with an answer: its prefill, if there is one, and ``text``."""
        return Conversation((*self.messages, Message("assistant", self.prefill + text)))


@dataclass(frozen=True)
class Reply:
    """What a model wrote."""

    text: str
    """Without the prefill."""
    token_ids: tuple[int, ...]
    """Without the prefill and without the token that ends a turn."""
    is_finished: bool
    """Whether the model ended by itself; else it ran out of tokens."""

    def to_json(self) -> dict[str, Any]:
        """The reply as a JSON object."""
        return asdict(self) | {"token_ids": list(self.token_ids)}


@dataclass(frozen=True, eq=False)
class ChatRow:
    """A conversation as tokens."""

    ids: TokenIds
    """``(t,)`` int32."""
    assistant: NDArray[np.bool_]
    """``(t,)``: what the assistant says, with the token that ends its turn."""

    def __len__(self) -> int:
        return len(self.ids)
