"""How the system's own acts become alerts: promotions, roll-backs, ends of retrainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from demur.serve.control._step import Step

if TYPE_CHECKING:
    from demur.serve import ServeConfig
    from demur.serve.monitor import Alerter
    from demur.store import Store

Tell = Callable[[str, Mapping[str, Any]], None]
"""Takes a kind, such as ``retrain.rejected``, and facts with at least the task."""
_EVERY_S = 5.0


def make_tell(config: ServeConfig, store: Store) -> Tell:
    """A teller that keeps alerts; delivering them is left to the one who delivers the monitor's.

    Raises
    ------
    ConfigError
        The webhook is no http address.
    """
    alerter = _make_alerter(config, store)
    alerter.close()  # it keeps what it is told, and starts no thread

    def tell(kind: str, facts: Mapping[str, Any]) -> None:
        from demur.serve.monitor import Alert

        subject = facts.get("retraining") or facts.get("experiment") or ""
        told = facts.get("reason") or kind
        name = f"{facts['name']}: " if facts.get("name") else ""
        alerter.send(
            Alert(
                id=f"{kind}-{subject}",
                kind=kind,
                task=str(facts.get("task", "")),
                message=f"{name}{told}",
                facts=dict(facts),
            )
        )

    return tell


def make_alerts(config: ServeConfig, store: Store) -> Step | None:
    """The step that delivers alerts where no monitor does."""
    if config.alerts.webhook is None or (config.monitor.enabled and config.records != "off"):
        return None
    alerter = _make_alerter(config, store)
    return Step(
        name="alerts", run=lambda now: alerter.resume(), every_s=_EVERY_S, pause=alerter.pause, close=alerter.close
    )


def _make_alerter(config: ServeConfig, store: Store) -> Alerter:
    from demur.serve.monitor import Alerter
    from demur.serve.secrets import Secrets

    return Alerter(store, config.alerts, Secrets(config.secrets).reveal)
