"""Who answers: the champion, or what an experiment says. Experiments are left to ``serve/experiments``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Shadow:
    """A model that judges too, and whose answer nobody is told."""

    version: str
    arm: str


@dataclass(frozen=True, slots=True)
class Route:
    """Which model answers a task of a request, on whose behalf, and which ones judge in its shadow."""

    version: str | None = None
    """None: the champion, whichever that is."""
    experiment: str | None = None
    arm: str | None = None
    shadows: tuple[Shadow, ...] = ()


CHAMPION = Route()


@runtime_checkable
class Router(Protocol):
    """Who answers a request; its methods are called as they say, in the workers of the server."""

    def refresh(self) -> None:
        """Read again what was decided elsewhere; called in a thread every few seconds.

        Raises
        ------
        StoreUnavailableError
            The database does not answer; what was known holds on.
        """
        ...

    def wanted(self) -> Collection[tuple[str, str]]:
        """Task and version of the models that must be loaded beside the champions."""
        ...

    def route(self, task: str, subject: str | None) -> Route:
        """Who answers a task of one request; called on the event loop, so it must not wait for anything.

        A version that is not loaded, or not yet, is answered by the champion, outside of any experiment.

        Parameters
        ----------
        subject
            A hash of the caller's sticky key, the same for the same key; None where none was given.
        """
        ...

    def failed(self, experiment: str | None, arm: str | None, count: int = 1) -> None:
        """Take note of items that an arm should have answered, or judged in the shadow, and could not.

        Called on the event loop.

        Parameters
        ----------
        experiment, arm
            Of the route; nothing is noted where there is none.
        """
        ...


class ChampionRouter:
    """No experiments: the champion answers."""

    def refresh(self) -> None:
        """Do nothing."""

    def wanted(self) -> Collection[tuple[str, str]]:
        """None."""
        return ()

    def route(self, task: str, subject: str | None) -> Route:
        """Give the champion every request."""
        return CHAMPION

    def failed(self, experiment: str | None, arm: str | None, count: int = 1) -> None:
        """Do nothing: there are no arms."""
