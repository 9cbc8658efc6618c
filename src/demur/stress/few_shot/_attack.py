"""The request comes after others that were answered, as if in the same conversation.

References
----------
Wei et al., "Jailbreak and Guard Aligned Language Models with Only Few In-Context Demonstrations", 2023;
Anil et al., "Many-shot Jailbreaking", NeurIPS 2024.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from demur.errors import UsageError
from demur.llm import Conversation, Message, Target
from demur.stress._protocol import Access, Attack, Cost, Setting, Stage
from demur.stress.few_shot._config import FewShotConfig


class FewShotAttack(Attack[FewShotConfig]):
    """Compliant turns before the request, in an order drawn by the seed; fewer are the first of more."""

    name = "few_shot"
    access: ClassVar[Access] = "prompt"
    title = "The request comes after others that the model is shown to have answered."
    config_type = FewShotConfig
    needs = ("compliance",)

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        self.check_material(setting.material)
        shots, known = sorted(set(self.config.shots)), setting.material.compliance
        if shots[-1] > len(known):
            raise UsageError(
                f"the attack 'few_shot' is to show {shots[-1]} answered conversations, and there are "
                f"{len(known)}; give more of compliance, or lower shots"
            )
        order = np.random.default_rng(setting.seed).permutation(len(known))
        turns = [_turns(known[place]) for place in order]
        for count in shots:
            before = tuple(message for one in turns[:count] for message in one)
            yield Stage(
                target,
                0,
                Cost(examples=count),
                label=f"shots={count}",
                rewrite=lambda one, before=before: put_before(one, before),  # type: ignore[misc]
            )


def _turns(conversation: Conversation) -> tuple[Message, ...]:
    """Without a system message: the attacked prompt has its own."""
    return tuple(one for one in conversation.messages if one.role != "system")


def put_before(conversation: Conversation, turns: tuple[Message, ...]) -> Conversation:
    """The conversation with turns after its system message and before all else.

    Parameters
    ----------
    conversation
        A prompt.
    turns
        Of user and assistant.
    """
    messages = conversation.messages
    start = sum(one.role == "system" for one in messages[:1])
    return Conversation((*messages[:start], *turns, *messages[start:]), conversation.prefill)
