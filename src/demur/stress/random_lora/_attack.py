"""A control: an update as large as the attack's, layer by layer, that has learned nothing of use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from demur.llm import Conversation, Target
from demur.stress._protocol import Cost, Setting, Stage
from demur.stress._tune import Tuned, tune_stages, under_identity
from demur.stress._tune_rows import TuneAttack, TuneRows, choose_rows, encode_rows
from demur.stress.lora import put_lora, update_norms
from demur.stress.random_lora._config import RandomLoraConfig

Norms = dict[int, dict[str, float]]
"""Step to layer to the norm of its update."""


class RandomLoraAttack(TuneAttack[RandomLoraConfig]):
    """Put an update of the attack's norm on every layer, drawn at random or trained on shuffled responses.

    The attack of the same settings is trained first, for its norms at each step; a stage has its cost. What breaks
    under this control too was broken by noise, not by what the attack taught.
    """

    name: ClassVar[str] = "random_lora"
    title: ClassVar[str] = "A control: a change as large as the attack's, but without its meaning."
    config_type = RandomLoraConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        """Train the attack, then yield an update of its norms at each step asked for.

        Parameters
        ----------
        target
            Its own weights are never changed.
        setting
            Data, seed, folder.

        Yields
        ------
        Stage
            The control in force; its notes tell the norm over all layers.
        """
        chosen = choose_rows(setting.material, self.config, setting.seed)
        rows = encode_rows(target, chosen, self.config, setting.seed)
        norms, costs = self._measure(target, rows, setting)
        if self.config.kind == "shuffled":
            rows = encode_rows(target, shuffle_answers(chosen, setting.seed), self.config, setting.seed)
        with put_lora(target, self.config, setting.seed) as tuned:
            for stage in self._controls(tuned, rows, setting):
                with _scaled(tuned.parameters, norms[stage.step]):
                    squares = sum(one**2 for one in norms[stage.step].values())
                    total = self.config.scale * float(np.sqrt(squares))
                    notes = {**stage.notes, "norm": total}
                    yield under_identity(
                        replace(stage, cost=costs[stage.step], notes=notes, artefact=None), self.config
                    )

    def _measure(self, target: Target, rows: TuneRows, setting: Setting) -> tuple[Norms, dict[int, Any]]:
        """Norms and costs of the attack at each step."""
        norms: Norms = {}
        costs = {}
        with put_lora(target, self.config, setting.seed) as tuned:
            inside = replace(setting, folder=setting.folder and setting.folder / "attack", done=frozenset())
            for stage in tune_stages(tuned, rows, self.config, inside):
                norms[stage.step] = update_norms(tuned.parameters, 1.0)
                costs[stage.step] = stage.cost
        return norms, costs

    def _controls(self, tuned: Tuned, rows: TuneRows, setting: Setting) -> Iterator[Stage]:
        """Updates of any norm at each step."""
        if self.config.kind == "shuffled":
            yield from tune_stages(
                tuned, rows, self.config, replace(setting, folder=setting.folder and setting.folder / "shuffled")
            )
            return
        _draw(tuned.parameters, setting.seed)
        for step in self.config.steps:
            yield Stage(tuned.target, step, Cost())


def shuffle_answers(rows: list[Conversation], seed: int) -> list[Conversation]:
    """The same requests with each other's last answers.

    Parameters
    ----------
    rows
        Answered conversations.
    seed
        Draws the order.
    """
    order = np.random.default_rng([seed, 3]).permutation(len(rows))
    # A round trip along a random order: with two rows or more nobody keeps an answer.
    giver = {int(one): rows[int(order[place - 1])].messages[-1] for place, one in enumerate(order)}
    return [Conversation((*one.messages[:-1], giver[number])) for number, one in enumerate(rows)]


def _draw(parameters: Mapping[str, Any], seed: int) -> None:
    """Normal numbers in every half, the same wherever it is run."""
    import torch

    with torch.no_grad():
        for number, name in enumerate(sorted(parameters)):
            one = parameters[name]
            values = np.random.default_rng([seed, 4, number]).standard_normal(tuple(one.shape), dtype=np.float32)
            one.copy_(torch.from_numpy(values))


@contextmanager
def _scaled(parameters: Mapping[str, Any], norms: Mapping[str, float]) -> Iterator[None]:
    """Give the update of each layer a norm, for a block."""
    import torch

    now = update_norms(parameters, 1.0)
    seconds = {key.split(".lora_B.")[0]: one for key, one in parameters.items() if ".lora_B." in key}
    before = {layer: one.detach().clone() for layer, one in seconds.items()}
    try:
        with torch.no_grad():
            for layer, one in seconds.items():
                one.mul_(norms[layer] / now[layer] if now[layer] > 0 else 0.0)
        yield
    finally:
        with torch.no_grad():
            for layer, one in seconds.items():
                one.copy_(before[layer])
