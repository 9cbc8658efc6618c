"""Cells of a grid that differ in the seed alone: their verdicts side by side, and what counts among them.

A run that was stopped at saturation is carried on as it ended; one that failed is not, since nobody knows how it
would have gone on. A response that is the same under several seeds counts once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.metrics import carry_forward, outcome_values
from demur.paths import hash_value
from demur.stress._data import StressPrompt

Floats = NDArray[np.float64]
_NO_RECIPE = ("rank", "steps", "checkpoint_every")
_SHOWN, _ID = 24, 8


def describe_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a cell apart, as columns.

    Parameters
    ----------
    cell
        Its result.
    """
    about, settings = cell["cell"], cell["cell"]["settings"]
    return {
        "model": about["model"],
        "defended": about["defended"],
        "attack": about["attack"],
        "variant": describe_settings(settings),
        # Words may be equal where settings are not: long and nested ones are not in them.
        "variant_id": hash_value(settings)[:_ID],
        "recipe_id": hash_value({name: one for name, one in settings.items() if name not in _NO_RECIPE})[:_ID],
        "access": about["access"],
        "data": settings.get("data"),
        "rank": settings.get("rank"),
        "learning_rate": settings.get("learning_rate"),
        "seed": about["seed"],
    }


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Settings that tell variants of an attack apart, in a few words.

    Parameters
    ----------
    settings
        All of them.
    """
    shown = [
        f"{name}={value}"
        for name, value in settings.items()
        if name not in ("steps", "checkpoint_every")
        and isinstance(value, str | int | float)
        and len(str(value)) < _SHOWN
    ]
    return " ".join(shown)


class Group:
    """Cells that differ in the seed alone.

    Parameters
    ----------
    cells
        Their results.
    """

    def __init__(self, cells: Sequence[Mapping[str, Any]]) -> None:
        self.cells = list(cells)
        self.about = {name: one for name, one in describe_cell(self.cells[0]).items() if name != "seed"}
        self.seeds = [one["cell"]["seed"] for one in self.cells]
        stages = [(stage["step"], stage["label"]) for cell in self.cells for stage in cell["stages"]]
        order = {stage: place for place, stage in reversed(list(enumerate(stages)))}
        # By cost where they are steps, else as the attack gave them.
        self.stages = sorted(order, key=lambda stage: (stage[0], order[stage]))

    @property
    def has_steps(self) -> bool:
        """Whether its stages are steps of one run, so that a stopped run can be carried on."""
        return len(self.stages) > 1 and all(label == "" for _, label in self.stages)

    @property
    def parameters(self) -> int | None:
        """Of the model."""
        found = [stage["parameters"] for cell in self.cells for stage in cell["stages"]]
        return found[0] if found else None

    @property
    def endings(self) -> tuple[str, ...]:
        """Runs that ended before the last step, and not because there was nothing left to break, in words."""
        said = []
        for cell in self.cells if self.has_steps else ():
            last = cell["stages"][-1]["step"]
            if cell["censored"] is None and last < self.stages[-1][0]:
                why = f" ({cell['reason']})" if cell["reason"] else ""
                seed = cell["cell"]["seed"]
                said.append(f"seed {seed} ended at step {last}{why}: later steps are those of the other seeds")
        return tuple(said)

    def most_tries(self) -> list[int]:
        """Answers to a prompt of which the worst one counts, by stage."""
        found = [1] * len(self.stages)
        for cell in self.cells:
            for stage in cell["stages"]:
                place = self._place(stage)
                found[place] = max(found[place], stage.get("tries", 1))
        return found

    def values(self, rate: str, judge: str, prompts: Sequence[str]) -> Floats:
        """1 where a response counts, NaN where there is none: ``(seeds, stages, prompts)``."""
        found = np.full((len(self.cells), len(self.stages), len(prompts)), np.nan)
        for seed, cell in enumerate(self.cells):
            for stage in cell["stages"]:
                outcomes = stage["outcomes"][judge]
                found[seed, self._place(stage)] = outcome_values([outcomes[one] for one in prompts], rate)
        return found

    def carry(self, values: Floats) -> Floats:
        """The same with runs that were stopped at saturation carried on as they ended."""
        if not self.has_steps:
            return values
        return carry_forward(values, [cell["censored"] is not None for cell in self.cells])

    @cached_property
    def draws(self) -> list[list[Hashable]]:
        """What stands for the responses of each seed at each stage: equal where they are the same ones."""
        found: list[list[Hashable]] = [[None] * len(self.stages) for _ in self.cells]
        for seed, cell in enumerate(self.cells):
            for stage in cell["stages"]:
                found[seed][self._place(stage)] = self._draw_of(cell, stage)
        return found

    def _draw_of(self, cell: Mapping[str, Any], stage: Mapping[str, Any]) -> Hashable:
        """Where nothing was trained, responses of the same words are the same ones."""
        is_trained = stage["cost"]["flops"] > 0 and stage["cost"].get("trainable", 0) > 0
        return str(cell.get("replies", cell["cell"]["seed"])) if is_trained else str(stage["texts"])

    def _place(self, stage: Mapping[str, Any]) -> int:
        return self.stages.index((stage["step"], stage["label"]))

    def flops(self) -> Floats:
        """Spent by each stage, ``(seeds, stages)``; a seed that was stopped goes on as much as the others do.

        From its own last stage on by the ratios of their means, so that what it spent never falls; NaN where no
        other has a stage and the one before.
        """
        found = np.full((len(self.cells), len(self.stages)), np.nan)
        for seed, cell in enumerate(self.cells):
            for stage in cell["stages"]:
                found[seed, self._place(stage)] = stage["cost"]["flops"]
        known = ~np.isnan(found)
        for seed, stage in np.argwhere(~known):
            others = known[:, stage] & known[:, max(stage - 1, 0)]
            if others.any():
                spent, before = found[seed, stage - 1] if stage else 0.0, found[others, stage - 1].mean()
                mean = found[others, stage].mean()
                found[seed, stage] = spent * mean / before if stage and before > 0 else mean
        return found


def group_cells(cells: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Cells put together that differ in the seed alone.

    Parameters
    ----------
    cells
        Their results.
    """
    found: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        about = describe_cell(cell)
        found[tuple(about[name] for name in ("model", "defended", "attack", "variant_id"))].append(cell)
    return [Group(one) for one in found.values()]


def count_responses(values: Floats, draws: Sequence[Sequence[Hashable]]) -> list[int]:
    """Judged responses of each stage, the same one under several seeds once.

    Parameters
    ----------
    values
        ``(seeds, stages, prompts)``, NaN where there is no verdict.
    draws
        By seed and stage, equal where the responses are the same.
    """
    judged = (~np.isnan(values)).sum(axis=2)
    counts = []
    for stage in range(values.shape[1]):
        known: dict[Hashable, int] = {}
        for seed, of in enumerate(draws):
            known[of[stage]] = max(known.get(of[stage], 0), int(judged[seed, stage]))
        counts.append(sum(known.values()))
    return counts


def cluster_prompts(prompts: Sequence[StressPrompt]) -> list[str | None]:
    """What is drawn as one: prompts of a category, else those of equal text; None for one on its own.

    Parameters
    ----------
    prompts
        Of one kind.
    """
    texts = [" ".join(one.text.casefold().split()) for one in prompts]
    counts = Counter(texts)
    return [
        one.category if one.category is not None else (f"text: {text}" if counts[text] > 1 else None)
        for one, text in zip(prompts, texts, strict=True)
    ]
