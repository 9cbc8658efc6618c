"""How the guard takes experiments in: the router of each worker, and the step of the controller."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from demur.serve.experiments._live import ExperimentRouter
from demur.serve.experiments._moves import Tell
from demur.serve.experiments._step import step

if TYPE_CHECKING:
    from demur.serve import ServeConfig
    from demur.serve.api import Parts
    from demur.serve.control import Step
    from demur.serve.monitor import Alerter
    from demur.store import Store


def install(parts: Parts) -> None:
    """Let experiments decide who answers in a worker."""
    parts.router = ExperimentRouter(parts.store)


def make_step(config: ServeConfig, store: Store, tell: Tell | None = None) -> Step:
    """The controller's step that evaluates every running experiment.

    Parameters
    ----------
    tell
        Told of promotions, roll-backs and the like that nobody commanded; default: alerts, as configured.

    Raises
    ------
    ConfigError
        The webhook of alerts is no http address.
    """
    from demur.serve.control import Step
    from demur.serve.monitor import Alerter
    from demur.serve.secrets import Secrets

    settings = config.experiments
    alerter = Alerter(store, config.alerts, Secrets(config.secrets).reveal)
    told = tell or partial(send_alert, alerter)
    is_watched = config.monitor.enabled and config.records != "off"

    def run(now: datetime) -> None:
        if not is_watched:  # else the monitor's own alerter delivers what an earlier process left
            alerter.resume()
        step(store, now, settings, told)

    return Step(name="experiments", run=run, every_s=settings.every_s, pause=alerter.pause, close=alerter.close)


def send_alert(alerter: Alerter, kind: str, facts: Mapping[str, Any]) -> None:
    """Tell what the system did with an experiment; the same act is told once."""
    from demur.serve.monitor import Alert

    words = f"{kind.replace('.', ' ')}: {facts['name']} of task {facts['task']}: {facts.get('reason')}"
    id = f"{kind}/{facts['experiment']}"
    alerter.send(Alert(id=id, kind="experiment", task=str(facts["task"]), message=words, facts=dict(facts)))
