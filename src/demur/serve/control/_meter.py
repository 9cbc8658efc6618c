"""What the controller says of itself to Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from demur.errors import require

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class ControlMeter(Protocol):
    """Is told what the controller does."""

    def lead(self, is_leader: bool) -> None:
        """Whether this controller acts."""

    def begin(self, step: str) -> None:
        """A step begins."""

    def end(self, step: str, seconds: float, is_ok: bool) -> None:
        """A step has ended."""


class NoMeter:
    """Tells nobody."""

    def lead(self, is_leader: bool) -> None:
        """Ignore."""

    def begin(self, step: str) -> None:
        """Ignore."""

    def end(self, step: str, seconds: float, is_ok: bool) -> None:
        """Ignore."""


class PrometheusMeter:
    """Gauges and counters of each step.

    Where ``PROMETHEUS_MULTIPROC_DIR`` is set before the process imports ``prometheus_client``, the ``/metrics`` of
    the server's workers show them: a gauge is then that of the process that wrote it last.

    Parameters
    ----------
    registry
        Where they are registered; one of their own where absent.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        client: Any = require("prometheus_client", extra="serve")
        where = registry or client.CollectorRegistry()

        def gauge(name: str, words: str, *labels: str) -> Any:
            return client.Gauge(
                f"demur_control_{name}", words, labels, registry=where, multiprocess_mode="mostrecent"
            )

        self._leads = gauge("leader", "Whether the controller of this host acts (1) or waits (0).")
        self._began = gauge("step_begin_timestamp_seconds", "When a step last began.", "step")
        self._succeeded = gauge("step_success_timestamp_seconds", "When a step last ended well.", "step")
        self._took = gauge("step_duration_seconds", "How long a step took when it last ended.", "step")
        self._runs = client.Counter("demur_control_step_runs", "Runs of a step.", ("step",), registry=where)
        self._failures = client.Counter(
            "demur_control_step_failures", "Runs that failed.", ("step",), registry=where
        )

    def lead(self, is_leader: bool) -> None:
        """Whether this controller acts."""
        self._leads.set(int(is_leader))

    def begin(self, step: str) -> None:
        """A step begins."""
        self._failures.labels(step)  # there from the first moment on, as 0
        self._began.labels(step).set(time.time())

    def end(self, step: str, seconds: float, is_ok: bool) -> None:
        """A step has ended."""
        self._runs.labels(step).inc()
        self._took.labels(step).set(seconds)
        if is_ok:
            self._succeeded.labels(step).set(time.time())
        else:
            self._failures.labels(step).inc()
