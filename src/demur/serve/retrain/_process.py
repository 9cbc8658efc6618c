"""The controller's hold on the process of a step: begun, looked at, killed with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demur.serve.retrain._order import Order

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
_KEPT = ("DEMUR_CACHE", "DEMUR_REAL_DATA")


class StepProcess:
    """One step of one retraining, in a process group of its own.

    Parameters
    ----------
    order
        What it is told; goes through a pipe, since it holds the database's password.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self._started = time.monotonic()
        order.files.data.mkdir(parents=True, exist_ok=True)
        with order.files.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "demur.serve.retrain._job"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(order.threads),
                start_new_session=True,
                text=True,
            )
        assert self._process.stdin is not None
        with suppress(OSError):  # it ended at once; looking at it says so
            self._process.stdin.write(order.to_text() + "\n")
            self._process.stdin.flush()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._started

    @property
    def exit_code(self) -> int | None:
        """How it ended; None: it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it and all that it started, now."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.close()

    def close(self) -> None:
        """Let go of one that has ended."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


def environment(threads: int) -> dict[str, str]:
    """As ours, with few threads, and without ``DEMUR_...``: what configures a server is not for an experiment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEMUR_") or name in _KEPT}
    kept.pop("PROMETHEUS_MULTIPROC_DIR", None)
    return kept | dict.fromkeys(_THREADS, str(threads))
