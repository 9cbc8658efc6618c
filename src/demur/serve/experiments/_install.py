"""How the guard takes experiments in: the router of each worker, and the step of the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demur.serve.experiments._live import ExperimentRouter
from demur.serve.experiments._step import step

if TYPE_CHECKING:
    from demur.serve import ServeConfig
    from demur.serve.api import Parts
    from demur.serve.control import Step
    from demur.serve.experiments._moves import Tell
    from demur.store import Store


def install(parts: Parts) -> None:
    """Let experiments decide who answers in a worker."""
    parts.router = ExperimentRouter(parts.store)


def make_step(config: ServeConfig, store: Store, tell: Tell | None = None) -> Step:
    """The controller's step that evaluates every running experiment.

    Parameters
    ----------
    tell
        Told of promotions, roll-backs and the like that nobody commanded; the log where absent.
    """
    from demur.serve.control import Step

    settings = config.experiments
    return Step(name="experiments", run=lambda now: step(store, now, settings, tell), every_s=settings.every_s)
