"""Chat templates: conversations as text and as tokens, and which of the tokens are the assistant's.

Which tokens are the assistant's is found by rendering a conversation with and without each of its turns. That
holds for every template under which a conversation begins with its own beginnings; any other is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from demur.errors import ConfigError, UsageError, require
from demur.llm._conversation import ChatRow, Conversation, Message, TokenIds

_DAY = "26 Jul 2024"
"""Templates that write today's date write this one: the same conversation gives the same tokens any day."""
_CLOCK = (
    "{%- macro strftime_now(format) %}{{ {'%Y-%m-%d': '2024-07-26'}.get(format, '26 Jul 2024') }}{% endmacro -%}"
)
_PROBE = "demur"


def find_template(tokenizer: Any, path: str | None = None) -> str:
    """The chat template: that of a file, or else the tokenizer's own.

    Parameters
    ----------
    tokenizer
        A tokenizer of transformers.
    path
        A Jinja file.

    Raises
    ------
    ConfigError
        There is none, or the file cannot be read.
    """
    if path is not None:
        return read_template(path)
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    if not own:
        raise ConfigError(
            "the tokenizer of this model has no chat template, so there is no right way to ask it; take a model "
            "that was tuned for chat, or give a Jinja file as chat_template",
            key="chat_template",
        )
    return str(own)


def read_template(path: str) -> str:
    """The chat template of a Jinja file.

    Raises
    ------
    ConfigError
        It cannot be read.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the chat template {path} cannot be read ({type(error).__name__}); give a Jinja file in UTF-8",
            key="chat_template",
        ) from error


class Chat:
    """A tokenizer with its chat template.

    Parameters
    ----------
    tokenizer
        A tokenizer of transformers.
    template
        The Jinja text.
    system
        System message of conversations without one.
    stops
        Tokens known to end a turn, beside those that the template and the tokenizer tell.
    """

    def __init__(
        self, tokenizer: Any, template: str, system: str | None = None, stops: Sequence[int] = ()
    ) -> None:
        self.tokenizer, self.template, self.system = tokenizer, template, system
        self._stops = stops

    def render(self, conversation: Conversation, *, generation_prompt: bool = True) -> str:
        """The text a model reads.

        Parameters
        ----------
        conversation
            Its prefill counts only with ``generation_prompt``.
        generation_prompt
            End with the words that ask for the assistant's turn.

        Raises
        ------
        ConfigError
            The template refuses such a conversation.
        """
        text = self._render(self._with_system(conversation), generation_prompt)
        return text + conversation.prefill if generation_prompt else text

    def prompt_ids(self, conversation: Conversation) -> TokenIds:
        """Tokens ``(t,)`` up to where the model goes on, with the prefill.

        Raises
        ------
        ConfigError
            The template refuses such a conversation.
        UsageError
            The last turn is the assistant's already.
        """
        if conversation.is_answered:
            raise UsageError(
                "a conversation to be answered ends with an assistant's turn; leave it out, or give its text as "
                "prefill"
            )
        text = self._render(self._with_system(conversation), True)
        return self._tokenize(text + conversation.prefill, [len(text)])[0]

    def encode(self, conversation: Conversation) -> ChatRow:
        """All tokens of a conversation, with the assistant's marked.

        A prefill counts as the beginning of an answer, not as a turn that has ended.

        Raises
        ------
        ConfigError
            The template refuses such a conversation, or does not tell where the assistant's turns are.
        """
        messages = self._with_system(conversation)
        text = self._render(messages, bool(conversation.prefill))
        whole = text + conversation.prefill
        cuts: list[int] = []
        for number, message in enumerate(messages):
            if message.role == "assistant":
                cuts += self._find_turn(messages, number, whole)
        if conversation.prefill:
            cuts += [len(text), len(whole)]
        ids, starts = self._tokenize(whole, cuts)
        mask = np.zeros(len(ids), dtype=bool)
        for begin, end in zip(starts[::2], starts[1::2], strict=True):
            mask[begin : begin + self._count_said(ids[begin:end])] = True
        return ChatRow(ids, mask)

    def decode(self, ids: Sequence[int], prefill: str = "") -> str:
        """The text of new tokens that follow a prefill."""
        head = list(self._plain_ids(prefill)) if prefill else []
        whole, before = self._decode([*head, *ids]), self._decode(head)
        return whole[len(before) :] if whole.startswith(before) else self._decode(list(ids))

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a turn: the tokenizer's, the model's, the one the template writes after an answer."""
        found = {int(one) for one in self._stops}
        if self.tokenizer.eos_token_id is not None:
            found.add(int(self.tokenizer.eos_token_id))
        text = self._render([Message("user", _PROBE), Message("assistant", _PROBE)], False)
        after = self._plain_ids(text.rpartition(_PROBE)[2].lstrip())
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        if len(after) and int(after[0]) in special:
            found.add(int(after[0]))
        return tuple(sorted(found))

    def _with_system(self, conversation: Conversation) -> list[Message]:
        messages = list(conversation.messages)
        if self.system is not None and messages[0].role != "system":
            messages.insert(0, Message("system", self.system))
        return messages

    def _render(self, messages: Sequence[Message], generation_prompt: bool) -> str:
        clock = _CLOCK if "strftime_now" in self.template else ""
        template_error = require("jinja2", extra="llm").TemplateError
        try:
            text: str = self.tokenizer.apply_chat_template(
                [{"role": one.role, "content": one.content} for one in messages],
                chat_template=clock + self.template,
                add_generation_prompt=generation_prompt,
                tokenize=False,
                date_string=_DAY,
            )
        except (template_error, ValueError, TypeError) as error:
            roles = ", ".join(one.role for one in messages) or "no turn"
            reason = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"the chat template cannot render a conversation of these turns: {roles} ({reason}); leave out "
                "the system message where it knows none, or give another chat_template",
                key="chat_template",
            ) from error
        return text

    def _find_turn(self, messages: list[Message], number: int, whole: str) -> tuple[int, int]:
        """Where in the whole text the assistant's turn of that number begins and ends."""
        before = self._render(messages[:number], True)
        after = self._render(messages[: number + 1], False)
        if not (after.startswith(before) and whole.startswith(after)):
            raise ConfigError(
                f"the chat template does not tell which tokens are the assistant's: with turn {number + 1} of "
                f"{len(messages)} the text before it changes; give a chat_template that only appends turns, and "
                "begins an answer as its generation prompt ends",
                key="chat_template",
            )
        return len(before), len(after)

    def _tokenize(self, text: str, cuts: Sequence[int]) -> tuple[TokenIds, list[int]]:
        """Tokens of a text, and the number of tokens before each of the ascending ``cuts``.

        Where a token would straddle a cut the pieces are tokenised apart, as a model meets them that writes on.
        """
        whole = self._plain_ids(text)
        heads = [self._plain_ids(text[:cut]) for cut in cuts]
        if all(np.array_equal(whole[: len(head)], head) for head in heads):
            return whole, [len(head) for head in heads]
        bounds = [0, *cuts, len(text)]
        pieces = [self._plain_ids(text[a:b]) for a, b in pairwise(bounds)]
        joined = np.concatenate(pieces)
        if self.tokenizer.decode(joined) != self.tokenizer.decode(whole):
            raise ConfigError(
                "the tokenizer reads a turn apart otherwise than within its conversation, so the assistant's "
                "tokens cannot be told; give a chat_template that ends the turns' headings with a special token "
                "or a line break",
                key="chat_template",
            )
        return joined, [int(count) for count in np.cumsum([len(piece) for piece in pieces])[:-1]]

    def _plain_ids(self, text: str) -> TokenIds:
        # Templates write their own special tokens.
        found = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return np.asarray(found, dtype=np.int32)

    def _count_said(self, turn: TokenIds) -> int:
        """Tokens of a turn up to its last one that ends turns; what the template writes after it is nobody's."""
        ends = np.flatnonzero(np.isin(turn, self.stop_ids))
        return int(ends[-1]) + 1 if len(ends) else len(turn)

    def _decode(self, ids: list[int]) -> str:
        found: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return found
