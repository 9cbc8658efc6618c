"""Vectors beside the request that no text has, found by gradients: the cheapest attack on open weights.

References
----------
Schwinn et al., "Soft Prompt Threats: Attacking Safety Alignment and Unlearning in Open-Source LLMs through the
Embedding Space", NeurIPS 2024, section 3 (signed gradients); Lester et al., "The Power of Scale for
Parameter-Efficient Prompt Tuning", EMNLP 2021, section 3.2 (starting from embeddings of words).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from demur.llm import Conversation, Target
from demur.stress._meter import Meter
from demur.stress._protocol import Access, Setting, Stage
from demur.stress._search import Run, SearchAttack, add_up, choose_prompts, folder_of
from demur.stress._slot import Place, find_slot, standing_in, tokenise_beginning, vocabulary_of
from demur.stress.soft_prompt._config import SoftPromptConfig
from demur.stress.soft_prompt._search import SoftSearch, SoftState


class SoftPromptAttack(SearchAttack[SoftPromptConfig]):
    """Searched vectors beside every request."""

    name = "soft_prompt"
    access: ClassVar[Access] = "embeddings"
    title = "Numbers that no text has are put beside the request, tuned so that the model begins to comply."
    config_type = SoftPromptConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        import torch

        self.check_material(setting.material)
        groups = choose_prompts(setting, self.config.scope, self.config.prompts, self.name)
        beginning = tokenise_beginning(target, self.config.beginning)
        runs = [
            Run(
                SoftSearch(
                    target,
                    [find_slot(target, one, self.config.place) for one in group],
                    beginning,
                    self.config,
                    Meter(target.module),
                ),
                folder_of(setting, self.config.scope, number),
                setting.seed,
            )
            for number, group in enumerate(groups)
        ]
        own = {group[0]: number for number, group in enumerate(groups)} if self.config.scope == "each" else {}
        soft = SoftTarget(target, self.config.place, self.config.tokens, own)
        for step in sorted(set(self.config.steps)):
            states = [run.reach(step) for run in runs]
            vectors = np.concatenate([state.best[state.best_loss.argmin()] for state in states])
            trained = sum(state.vectors.size for state in states)
            cost = add_up([run.search.meter for run in runs], trained, sum(map(len, groups)))
            with standing_in(target.module, torch.from_numpy(vectors).to(target.module.device)):
                yield Stage(soft, step, cost, notes=_describe(states))


class SoftTarget(Target):
    """A target whose prompts have vectors in them, wherever it is asked.

    Parameters
    ----------
    target
        The model; what the vectors are is said elsewhere.
    place
        Where they go.
    tokens
        How many a prompt has.
    own
        Prompts that have vectors of their own: which, counted in prompts. All others have the first.
    """

    def __init__(
        self, target: Target, place: Place, tokens: int, own: Mapping[Conversation, int] | None = None
    ) -> None:
        super().__init__(target.module, target.tokenizer, target.config, target.folder)
        self._place: Place = place
        self._tokens, self._own = tokens, dict(own or {})

    def prompt_ids(self, conversation: Conversation) -> Any:
        """Tokens ``(t,)`` with numbers after the vocabulary's end where the vectors go."""
        if conversation.is_answered:
            return super().prompt_ids(conversation)
        first = vocabulary_of(self.module) + self._tokens * self._own.get(conversation, 0)
        slot = find_slot(self, conversation, self._place)
        return slot.fill(np.arange(first, first + self._tokens)).astype(np.int32)


def _describe(states: Sequence[SoftState]) -> dict[str, Any]:
    """Losses and curves of the best starts: of a search for each prompt alone the means, and every loss."""
    best = [int(state.best_loss.argmin()) for state in states]
    losses = [float(state.best_loss[place]) for state, place in zip(states, best, strict=True)]
    curves = [[row[place] for row in state.curve] for state, place in zip(states, best, strict=True)]
    return {
        "loss": float(np.mean(losses)),
        "losses": losses,
        "restarts": best,
        "curve": np.mean(curves, axis=0).tolist(),
    }
