"""How the guard takes the monitor in: the sampler of each worker, and the step of the controller."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from demur.serve.monitor._alerts import Alerter
from demur.serve.monitor._sampler import Answered, InputSampler
from demur.serve.monitor._step import Monitor

if TYPE_CHECKING:
    from demur.serve import ServeConfig
    from demur.serve.api import Call, Metrics, Parts
    from demur.serve.control import Step
    from demur.serve.pool import Texts
    from demur.store import PredictionRow, Store

_COUNTED = ("/v1/", "/classify")
_STEP_S = 5.0


def install(parts: Parts) -> None:
    """Let a worker's answers be sampled, and its requests be counted."""
    settings = parts.config.monitor
    if not settings.enabled or parts.config.records == "off":
        return
    sampler = InputSampler(parts.store, settings.inputs)
    parts.observers.append(SampleAnswers(sampler))
    counted: Any = CountRequests(parts.metrics, sampler)
    parts.metrics = counted
    atexit.register(sampler.close, 2.0)


def make_step(config: ServeConfig, store: Store) -> Step | None:
    """The controller's step that watches every task; None where nothing is to be watched."""
    from demur.serve.control import Step
    from demur.serve.secrets import Secrets

    if not config.monitor.enabled or config.records == "off":
        return None
    secrets = Secrets(config.secrets)
    alerter = Alerter(store, config.alerts, secrets.reveal)
    monitor = Monitor(store, config.monitor, alerter)
    return Step(name="monitor", run=monitor.step, every_s=_STEP_S, pause=alerter.pause, close=alerter.close)


class SampleAnswers:
    """Hands what a worker answered to the sampler, each item once however many tasks judged it.

    Parameters
    ----------
    sampler
        Takes the items.
    """

    def __init__(self, sampler: InputSampler) -> None:
        self.sampler = sampler

    def __call__(self, rows: Sequence[PredictionRow], texts: Sequence[Texts]) -> None:
        """Look at the answers to one request."""
        items = {
            row.item: Answered(row.request_id, row.item, texts[row.item].prompt, texts[row.item].response, row.at)
            for row in rows
        }
        self.sampler.offer(list(items.values()))


class CountRequests:
    """A worker's figures, which tell the sampler of each request too.

    Parameters
    ----------
    metrics
        The figures; all else is left to them.
    sampler
        Is told whether the server failed.
    """

    def __init__(self, metrics: Metrics, sampler: InputSampler) -> None:
        self._metrics, self._sampler = metrics, sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metrics, name)

    def end(self, call: Call, method: str) -> None:
        """A request has ended."""
        self._metrics.end(call, method)
        if call.route.startswith(_COUNTED):
            self._sampler.count(is_error=call.status >= 500 or call.status == 0)
