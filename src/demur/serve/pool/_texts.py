"""The texts of one item, repaired as models saw texts when they learned.

The same repair as ``demur.data.repair_texts``, text by text: for one row a table costs more than a model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from demur.tasks import Task

_CONTROL = re.compile(
    "\x1b\\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ufeff\ufffe\uffff]", re.ASCII
)
Field = Literal["prompt", "response"]


@dataclass(frozen=True)
class Texts:
    """A prompt, a response, or both, as they were given."""

    prompt: str | None = None
    response: str | None = None

    @cached_property
    def repaired(self) -> tuple[str | None, str | None]:
        """Prompt and response as models read them."""
        return _repair(self.prompt), _repair(self.response)

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
