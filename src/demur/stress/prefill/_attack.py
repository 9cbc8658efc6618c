"""The answer is begun for the model, which then goes on in the same vein.

References
----------
Andriushchenko et al., "Jailbreaking Leading Safety-Aligned LLMs with Simple Adaptive Attacks", 2024, section 3;
Qi et al., "Safety Alignment Should Be Made More Than Just a Few Tokens Deep", 2024, section 2.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from demur.errors import ConfigError
from demur.llm import Conversation, Target
from demur.stress._protocol import Access, Attack, Cost, Setting, Stage
from demur.stress.prefill._config import PrefillConfig

_ANY = Conversation.from_prompt("?")
"""Every answer begins after the same words of the template, so one prompt stands for all."""


class PrefillAttack(Attack[PrefillConfig]):
    """Answers begun with the first tokens of a compliant one."""

    name = "prefill"
    access: ClassVar[Access] = "decoding"
    title = "The attacker writes the first words of the answer, and lets the model go on."
    config_type = PrefillConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        text = self.config.text
        if self.config.tokens:
            text = target.tokenizer.decode(list(self.config.tokens), clean_up_tokenization_spaces=False)
        heads = [(length, cut_to_tokens(target, text, length)) for length in sorted(set(self.config.lengths))]
        for length, head in heads:
            yield Stage(
                target,
                0,
                Cost(),
                label=f"prefill={length}",
                rewrite=lambda one, head=head: replace(one, prefill=head),  # type: ignore[misc]
                notes={"tokens": length, "characters": len(head)},
            )


def cut_to_tokens(target: Target, text: str, length: int) -> str:
    """The longest beginning of a text that is read as exactly that many tokens where an answer begins.

    Parameters
    ----------
    target
        Its tokenizer and template count.
    text
        What to cut.
    length
        Tokens.

    Raises
    ------
    ConfigError
        The text is too short, or no beginning of it has that many tokens.
    """
    before = len(target.prompt_ids(_ANY))

    def count(size: int) -> int:
        return len(target.prompt_ids(replace(_ANY, prefill=text[:size]))) - before

    whole = count(len(text))
    if whole < length:
        raise ConfigError(
            f"the beginning of the answer has {whole} tokens of this model, and {length} are asked for; give a "
            "longer text, or lower lengths",
            key="text",
        )
    # A token is a character at least in most texts, so that the cut is soon met from the front.
    sizes = [size for size in range(1, len(text) + 1) if count(size) == length]
    if not sizes:
        raise ConfigError(
            f"no beginning of the text is read as exactly {length} tokens by this model; give another text",
            key="text",
        )
    return text[: sizes[-1]]
