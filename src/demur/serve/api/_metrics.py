"""Figures for Prometheus, right with one process and, where the supervisor set a folder for it, with several.

Files of figures are named by the worker's number, not by its process: a worker that was killed goes on counting
where it stopped, and there are never more files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from demur.serve.api._call import Call
    from demur.serve.batching import BatchStats
    from demur.serve.pool import State

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


def use_worker_number(number: int) -> None:
    """Name this process's files of figures by its number; before any figure is made."""
    values: Any = require("prometheus_client.values", extra="serve")
    values.ValueClass = values.MultiProcessValue(lambda: number)


def forget_worker(folder: Path, number: int) -> None:
    """Take away the live gauges of a worker that has died."""
    multiprocess: Any = require("prometheus_client.multiprocess", extra="serve")
    multiprocess.mark_process_dead(number, str(folder))


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        client: Any = require("prometheus_client", extra="serve")
        self._client = client
        self._registry = registry = client.CollectorRegistry()

        def counter(name: str, text: str, labels: Iterable[str] = ()) -> Any:
            return client.Counter(f"demur_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: Iterable[str] = (), mode: str = "livesum") -> Any:
            return client.Gauge(f"demur_{name}", text, labels, registry=registry, multiprocess_mode=mode)

        def histogram(name: str, text: str, labels: Iterable[str], buckets: tuple[float, ...]) -> Any:
            return client.Histogram(f"demur_{name}", text, labels, registry=registry, buckets=buckets)

        self._requests = counter("requests", "Requests by route and status.", ("method", "route", "status"))
        self._seconds = histogram("request_seconds", "Time to answer a request.", ("route",), _SECONDS)
        self._in_flight = gauge("requests_in_flight", "Requests under way.")
        self._verdicts = counter("verdicts", "Labels given.", ("task", "version", "label", "shadow"))
        self._flagged = counter("flagged", "Items flagged at an operating point.", ("task", "version", "point"))
        self._batch_rows = histogram("batch_rows", "Rows judged in one call.", ("version",), _ROWS)
        self._batch_seconds = histogram("batch_seconds", "Time of one call of a model.", ("version",), _SECONDS)
        self._wait = histogram(
            "queue_wait_seconds", "Time the oldest row of a batch waited.", ("version",), _SECONDS
        )
        self._waiting = gauge("queue_rows", "Rows that wait for a model.", ("version",))
        self._models = gauge("model", "Workers that answer a task with a model.", ("task", "name", "version"))
        self._ready = gauge("ready_workers", "Workers that are ready.")
        self._records = counter("records", "Rows recorded, lost, or refused.", ("result",))
        self._shown: set[tuple[str, str, str]] = set()

    def begin(self) -> None:
        """A request begins."""
        self._in_flight.inc()

    def end(self, call: Call, method: str) -> None:
        """A request has ended."""
        self._in_flight.dec()
        known = method if method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS") else "other"
        self._requests.labels(known, call.route, str(call.status or 499)).inc()
        self._seconds.labels(call.route).observe(call.seconds)

    def judged(self, task: str, version: str, label: str, flagged: Mapping[str, bool], *, is_shadow: bool) -> None:
        """A label was given."""
        self._verdicts.labels(task, version[:12], label, "yes" if is_shadow else "no").inc()
        if not is_shadow:
            for point, is_flagged in flagged.items():
                if is_flagged:
                    self._flagged.labels(task, version[:12], point).inc()

    def batch(self, version: str, stats: BatchStats) -> None:
        """A model was called."""
        self._batch_rows.labels(version[:12]).observe(stats.rows)
        self._batch_seconds.labels(version[:12]).observe(stats.seconds)
        self._wait.labels(version[:12]).observe(stats.waited_s)

    def recorded(self, result: str, rows: int) -> None:
        """Rows went into the spool, were lost on the way, or refused."""
        self._records.labels(result).inc(rows)

    def look(self, state: State, *, is_ready: bool) -> None:
        """Note which models there are, and how many rows wait for them."""
        self._ready.set(1 if is_ready else 0)
        shown = {(task, model.name, model.version[:12]) for task, model in state.champions.items()}
        for labels in self._shown - shown:
            self._models.labels(*labels).set(0)
        for labels in shown:
            self._models.labels(*labels).set(1)
        self._shown |= shown
        for version, model in state.models.items():
            self._waiting.labels(version[:12]).set(model.waiting)

    def show(self) -> bytes:
        """All figures in Prometheus' text format, of every worker where there are several."""
        registry = self._registry
        if os.environ.get(FOLDER_VARIABLE):
            multiprocess: Any = require("prometheus_client.multiprocess", extra="serve")
            registry = self._client.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        found: bytes = self._client.generate_latest(registry)
        return found

    @property
    def content_type(self) -> str:
        """Of :meth:`show`."""
        return str(self._client.CONTENT_TYPE_LATEST)
