"""The steps of the controller: a list, and each package makes its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from demur.serve.control._retention import purge
from demur.serve.control._step import Step
from demur.serve.control._tell import make_tell

if TYPE_CHECKING:
    from demur.serve._config import ServeConfig
    from demur.store import Store

Make = Callable[["ServeConfig", "Store"], "Step | None"]
STEPS: dict[str, str] = {
    "drain": "demur.serve.control._steps:make_drain",
    "experiments": "demur.serve.control._steps:make_experiments",
    "monitor": "demur.serve.monitor:make_step",
    "retrain": "demur.serve.control._steps:make_retrain",
    "alerts": "demur.serve.control._tell:make_alerts",
    "retention": "demur.serve.control._steps:make_retention",
}
"""Name to the function that makes the step, or None where the configuration asks for nothing of it."""


def make_steps(config: ServeConfig, store: Store) -> list[Step]:
    """The steps that a configuration asks for.

    Raises
    ------
    ConfigError
        A part of the configuration does not fit, such as a file of it that is not there.
    MissingDependencyError
        A library of the extra ``serve`` is not installed.
    """
    made = [_find(place)(config, store) for place in STEPS.values()]
    return [step for step in made if step is not None]


def make_drain(config: ServeConfig, store: Store) -> Step:
    """Rows that wait on this host's disk, of workers that were killed too, go into the database."""
    spool = config.spool.open()
    return Step(
        name="drain", run=lambda now: spool.drain(store), every_s=max(1.0, config.spool.drain_s), needs_lease=False
    )


def make_experiments(config: ServeConfig, store: Store) -> Step:
    """Running experiments are evaluated; what that leads to is told."""
    from demur.serve.experiments import make_step

    return make_step(config, store, make_tell(config, store))


def make_retrain(config: ServeConfig, store: Store) -> Step:
    """Retrainings are brought forward; how they end is told."""
    from demur.serve.retrain import make_step

    return make_step(config, store, make_tell(config, store))


def make_retention(config: ServeConfig, store: Store) -> Step:
    """What is older than it may be is deleted."""
    settings = config.control.retention
    return Step(name="retention", run=lambda now: purge(store, settings, now), every_s=settings.every_s)


def _find(place: str) -> Make:
    module, _, name = place.partition(":")
    found: Make = getattr(import_module(module), name)
    return found
