"""The texts of one item, repaired as models saw texts when they learned.

The same repair as ``demur.data.repair_texts``, text by text: for one row a table costs more than a model.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from demur.tasks import Task

_CONTROL = re.compile(
    "\x1b\\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ufeff\ufffe\uffff]", re.ASCII
)
_LETTER = re.compile(r"[^\W\d_]")
_LANGUAGE_CHARS, _LEAST_LETTERS, _LEAST_CONFIDENCE = 600, 20, 0.5
"""As of the language that cleaning records of the rows that models learn from."""
Field = Literal["prompt", "response"]


@dataclass(frozen=True)
class Texts:
    """A prompt, a response, or both, as they were given."""

    prompt: str | None = None
    response: str | None = None
    is_plain: bool = False
    """Whether both are one text, of which nobody said what it is: each task is given it as what it judges."""

    @classmethod
    def plain(cls, text: str) -> Texts:
        """A text of which nobody said whether it is a prompt or a response."""
        return cls(text, text, is_plain=True)

    def given_to(self, fields: Collection[Field]) -> Texts:
        """What a model is given whose tasks judge these fields."""
        if not self.is_plain or len(fields) > 1:
            return self
        return Texts(self.prompt) if "prompt" in fields else Texts(response=self.response)

    @cached_property
    def repaired(self) -> tuple[str | None, str | None]:
        """Prompt and response as models read them."""
        return _repair(self.prompt), _repair(self.response)

    @cached_property
    def language(self) -> str | None:
        """ISO 639-1 code of the response, else of the prompt; None where it cannot be told."""
        text = self.response if self.response is not None else self.prompt
        return tell_language(text or "")

    @property
    def length(self) -> int:
        """Characters of both."""
        return len(self.prompt or "") + len(self.response or "")

    def answers(self, task: Task) -> bool:
        """Whether the text that a task judges is there."""
        return getattr(self, judged_field(task)) is not None


def judged_field(task: Task) -> Field:
    """The text that a label of the task is about: the response where the task reads it, else the prompt."""
    return "response" if "response" in task.fields else "prompt"


def _repair(text: str | None) -> str | None:
    return text if text is None else repair_text(text)


def tell_language(text: str) -> str | None:
    """ISO 639-1 code of a text, by its beginning; None where there are few letters or it could be several."""
    beginning = text[:_LANGUAGE_CHARS]
    if len(_LETTER.findall(beginning)) < _LEAST_LETTERS:
        return None
    label, confidence = _language_identifier().classify(beginning)
    return str(label) if confidence >= _LEAST_CONFIDENCE else None


@lru_cache(maxsize=1)
def _language_identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def repair_text(text: str) -> str:
    """Undo a wrong codec, remove control characters and terminal escapes, unify line ends, trim.

    See Also
    --------
    demur.data.repair_texts : The same for records; a test holds that both give the same.
    """
    if not text.isascii():
        import ftfy

        text = ftfy.fix_encoding(text)
    return _CONTROL.sub("", text).replace("\r\n", "\n").replace("\r", "\n").strip()
