"""Adds up what an attack spends while it goes on: operations, tokens, seconds."""

from __future__ import annotations

import time
from typing import Any

from demur.stress._flops import Pass, count_parameters
from demur.stress._protocol import Cost

_PER_TOKEN = {"forward": 2.0, "adapter": 4.0, "full": 6.0}


class Meter:
    """What an attack has spent since it began.

    Parameters
    ----------
    module
        The model under attack.
    spent
        What it had spent before it was killed.
    """

    def __init__(self, module: Any, spent: Cost | None = None) -> None:
        self.parameters = count_parameters(module)
        self.take_up(spent or Cost())

    def take_up(self, spent: Cost) -> None:
        """Count on from a cost, from now.

        Parameters
        ----------
        spent
            Of an attack that goes on.
        """
        self.flops, self.tokens = spent.flops, spent.tokens
        self._start, self._paused = time.perf_counter() - spent.seconds, 0.0
        self._is_paused = False

    def add(self, tokens: int, kind: Pass = "forward") -> None:
        """Count tokens that went through the model; those with a backward pass as trained on.

        Parameters
        ----------
        tokens
            Padding left out.
        kind
            As for :func:`demur.stress.reckon_flops`; ``adapter`` also where the gradient is of inputs alone.
        """
        self.flops += _PER_TOKEN[kind] * self.parameters * tokens
        self.tokens += tokens if kind != "forward" else 0

    @property
    def seconds(self) -> float:
        """Wall time, less what was paused."""
        return (self._paused if self._is_paused else time.perf_counter()) - self._start

    def pause(self) -> None:
        """Stop the clock: a stage is judged."""
        self._paused, self._is_paused = time.perf_counter(), True

    def go_on(self) -> None:
        """Start the clock again."""
        if self._is_paused:
            self._start += time.perf_counter() - self._paused
            self._is_paused = False

    def cost(self, trainable: int = 0, examples: int = 0) -> Cost:
        """The cost so far.

        Parameters
        ----------
        trainable
            Parameters that were trained.
        examples
            Rows of the attacker's data that were used.
        """
        return Cost(self.flops, trainable, examples, self.tokens, 0, self.seconds)
