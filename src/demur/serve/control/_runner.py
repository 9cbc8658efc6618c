"""The thread of one step: runs it when it is due, whatever happens in it or in others."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from demur.errors import DemurError
from demur.serve.control._meter import ControlMeter
from demur.serve.control._step import Step

_LOG = logging.getLogger("demur.serve.control")
_LOOK_S = 0.25
"""Seconds between two looks at whether this controller may act by now."""
_LONGEST_WAIT_S = 15.0


class StepRunner:
    """Runs a step until it is stopped.

    Parameters
    ----------
    step
        The step.
    is_leader
        Whether steps that need the lease may run.
    meter
        Told of every run.
    stopping
        Set when the process ends.
    """

    def __init__(
        self, step: Step, is_leader: Callable[[], bool], meter: ControlMeter, stopping: threading.Event
    ) -> None:
        self.step, self._is_leader, self._meter, self._stopping = step, is_leader, meter, stopping
        self._thread = threading.Thread(target=self._loop, name=f"control-{step.name}", daemon=True)
        self._said: str | None = None
        self.failures = 0
        """Runs that failed since the last that did not."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def run_once(self) -> bool:
        """Run the step now; whether it ended well."""
        from demur.store import utc_now

        name, started = self.step.name, time.monotonic()
        self._meter.begin(name)
        said = None
        try:
            self.step.run(utc_now())
        except DemurError as error:
            said = str(error)
            if said != self._said:  # a database that is down for an hour is one line, not a thousand
                _LOG.warning("step %s: %s", name, said)
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}"
            if said != self._said:
                _LOG.exception("step %s failed", name)
        if said is None and self.failures:
            _LOG.info("step %s works again, after %d runs that failed", name, self.failures)
        self.failures, self._said = (0, None) if said is None else (self.failures + 1, said)
        self._meter.end(name, time.monotonic() - started, said is None)
        return said is None

    def _loop(self) -> None:
        while not self._stopping.is_set():
            if self.step.needs_lease and not self._is_leader():
                self._stopping.wait(_LOOK_S)
                continue
            self.run_once()
            self._stopping.wait(self._wait_s())

    def _wait_s(self) -> float:
        """The step's own time; after failures twice as long each time, within bounds."""
        if not self.failures:
            return self.step.every_s
        longest = max(self.step.every_s, _LONGEST_WAIT_S)
        wait: float = min(longest, self.step.every_s * 2 ** min(self.failures, 20))
        return wait * random.uniform(0.8, 1.0)  # so that the controllers of many hosts do not come at once
