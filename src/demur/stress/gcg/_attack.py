"""A suffix of tokens found by gradients, after which the model begins to comply: a small version of GCG.

With fewer candidates and steps than the original (512 and 500) it is weaker.

References
----------
Zou et al., "Universal and Transferable Adversarial Attacks on Aligned Language Models", 2023, algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from demur.llm import Conversation, Target
from demur.stress._protocol import Access, Setting, Stage
from demur.stress._requests import change_request
from demur.stress._search import Run, SearchAttack, add_up, choose_prompts, folder_of
from demur.stress._slot import find_slot, tokenise_beginning
from demur.stress.gcg._config import GcgConfig
from demur.stress.gcg._search import SuffixSearch, SuffixState, find_allowed


class GcgAttack(SearchAttack[GcgConfig]):
    """A searched suffix after every request."""

    name = "gcg"
    access: ClassVar[Access] = "prompt"
    title = "A string without meaning, found with the model's gradients, is put after the request."
    config_type = GcgConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        self.check_material(setting.material)
        groups = choose_prompts(setting, self.config.scope, self.config.prompts, self.name)
        beginning = tokenise_beginning(target, self.config.beginning)
        allowed = find_allowed(target, only_ascii=self.config.only_ascii)
        searches = [
            SuffixSearch(
                target, [find_slot(target, one, "after") for one in group], beginning, self.config, allowed
            )
            for group in groups
        ]
        runs = [
            Run(search, folder_of(setting, self.config.scope, number), setting.seed)
            for number, search in enumerate(searches)
        ]
        for step in sorted(set(self.config.steps)):
            states = [run.reach(step) for run in runs]
            texts = [target.tokenizer.decode(one.best, clean_up_tokenization_spaces=False) for one in states]
            own = {group[0]: text for group, text in zip(groups, texts, strict=True)}
            yield Stage(
                target,
                step,
                add_up([search.meter for search in searches], 0, sum(map(len, groups))),
                rewrite=Suffixes(own if self.config.scope == "each" else {}, texts[0]),
                notes=_describe(states, searches, texts),
            )


class Suffixes:
    """Puts suffixes after requests.

    Parameters
    ----------
    own
        Of prompts that have one of their own.
    other
        Of all others.
    """

    def __init__(self, own: dict[Conversation, str], other: str) -> None:
        self.own, self.other = own, other

    def __call__(self, conversation: Conversation) -> Conversation:
        suffix = self.own.get(conversation, self.other)
        return change_request(conversation, lambda text: text + suffix)


def _describe(
    states: Sequence[SuffixState], searches: Sequence[SuffixSearch], texts: Sequence[str]
) -> dict[str, Any]:
    """Losses and curves: of a search for each prompt alone the means, and every loss."""
    exact = [
        search.is_read_back(slot, state.best)
        for state, search in zip(states, searches, strict=True)
        for slot in search.slots
    ]
    return {
        "loss": float(np.mean([state.best_loss for state in states])),
        "losses": [state.best_loss for state in states],
        "suffixes": list(texts),
        "curve": np.mean([state.curve for state in states], axis=0).tolist(),
        "read_back": sum(exact) / len(exact),
    }
