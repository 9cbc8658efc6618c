"""Searches that go on step by step: taken up from a folder after a kill, for all prompts or for each alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
from pydantic import Field

from demur.config import Settings
from demur.errors import UsageError
from demur.llm import Conversation
from demur.stress._meter import Meter
from demur.stress._protocol import Attack, Cost, Material, Setting
from demur.stress._states import Arrays, States, read_cost, write_cost

Scope = Literal["all", "each"]


class SearchConfig(Settings):
    """What every search is driven by."""

    scope: Scope = Field(
        default="all",
        description="One search on prompts of the attacker for all that is judged, or, stronger, one for each "
        "prompt that is judged.",
    )
    beginning: str = Field(
        default="Sure, here is how to do it:",
        min_length=1,
        description="What answers are driven to begin with.",
    )


C = TypeVar("C", bound=SearchConfig)


class SearchAttack(Attack[C]):
    """An attack that searches, on the attacker's prompts or on each that is judged."""

    extent: ClassVar[frozenset[str]] = frozenset({"steps"})
    needs: ClassVar[tuple[str, ...]] = ("harmful_prompts",)

    def check_material(self, material: Material) -> None:
        """Refuse data without prompts to search on, where they are needed."""
        if self.config.scope == "all":
            super().check_material(material)


class State(Protocol):
    """Where a search is."""

    curve: list[Any]

    @property
    def step(self) -> int:
        """Steps that were made."""
        ...

    def to_arrays(self) -> Arrays:
        """For a file."""
        ...


S = TypeVar("S", bound=State)


class Search(Protocol[S]):
    """What makes the steps."""

    meter: Meter

    def begin(self, seed: int) -> S:
        """The state before the first step."""
        ...

    def advance(self, state: S, seed: int) -> None:
        """Make one step; of a new state, look where it stands."""
        ...

    def read(self, arrays: Arrays) -> S:
        """A state from a file."""
        ...


class Run(Generic[S]):
    """A search with its state.

    Parameters
    ----------
    search
        What makes the steps; its clock runs while it does.
    folder
        Where states are kept; None keeps nothing.
    seed
        Of all that is drawn.
    every
        Steps after which a state is kept even where there is no stage.
    """

    def __init__(self, search: Search[S], folder: Path | None, seed: int, every: int = 10) -> None:
        self.search, self.seed, self.every = search, seed, every
        self.states, self.state = States(folder), search.begin(seed)
        search.meter.pause()

    def reach(self, step: int) -> S:
        """The state after so many steps; never fewer than were asked for before.

        Parameters
        ----------
        step
            Steps from the start.
        """
        kept = self.states.load(step)
        if kept is not None and (not self.state.curve or kept[0] > self.state.step):
            self.state = self.search.read(kept[1])
            self.search.meter.take_up(read_cost(kept[1]))
        self.search.meter.go_on()
        while not self.state.curve or self.state.step < step:
            self.search.advance(self.state, self.seed)
            is_stage = self.state.step == step
            if is_stage or self.state.step % self.every == 0:
                arrays = self.state.to_arrays() | write_cost(self.search.meter.cost())
                self.states.save(self.state.step, arrays, is_stage=is_stage)
        self.search.meter.pause()
        return self.state


def choose_prompts(setting: Setting, scope: Scope, most: int, name: str) -> list[list[Conversation]]:
    """The prompts of each search: one for some of the attacker's, or one for each that is judged.

    Parameters
    ----------
    setting
        Data and seed.
    scope
        Which of the two.
    most
        Prompts of a search for all.
    name
        What the attack is called in an error.

    Raises
    ------
    UsageError
        There is no prompt to search on.
    """
    if scope == "each":
        if not setting.prompts:
            raise UsageError(
                f"the attack '{name}' is to search for each prompt that is judged, and there is none; give "
                "prompts, or set scope: all"
            )
        return [[one] for one in setting.prompts]
    known = setting.material.harmful_prompts
    order = np.random.default_rng(setting.seed).permutation(len(known))[:most]
    return [[known[place] for place in order]]


def folder_of(setting: Setting, scope: Scope, number: int) -> Path | None:
    """Where the states of a search are kept."""
    if setting.folder is None or scope == "all":
        return setting.folder
    return setting.folder / f"prompt_{number:05d}"


def add_up(meters: Sequence[Meter], trainable: int, examples: int) -> Cost:
    """What several searches have spent.

    Parameters
    ----------
    meters
        Of each.
    trainable
        Parameters that were trained, in all.
    examples
        Rows of the attacker's data that were used.
    """
    spent = [meter.cost() for meter in meters]
    return Cost(
        flops=sum(one.flops for one in spent),
        trainable=trainable,
        examples=examples,
        tokens=sum(one.tokens for one in spent),
        seconds=sum(one.seconds for one in spent),
    )
