"""The controller: a heartbeat that keeps the lease, a thread for each step, and an end within a second."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from demur.errors import ConfigError, DemurError, near_match
from demur.serve.control._leadership import Leadership
from demur.serve.control._meter import ControlMeter, NoMeter
from demur.serve.control._runner import StepRunner
from demur.serve.control._step import Step, do_nothing

if TYPE_CHECKING:
    from demur.serve.control._config import ControlConfig
    from demur.store import Store

_LOG = logging.getLogger("demur.serve.control")
_END_S, _RELEASE_S = 0.5, 0.3
"""How long steps, and then the database, are waited for when the process ends."""


class Controller:
    """Runs steps while it holds the lease, and those of its own host in any case.

    Every step has a thread, so that one that hangs or fails keeps no other waiting.

    Parameters
    ----------
    store
        Where the lease is; may be down at any time.
    steps
        What to do.
    config
        Times, and which steps to leave out.
    meter
        Told of every run of a step.
    prepare
        Called before the first heartbeat, again and again until it raises nothing, such as a migration.

    Raises
    ------
    ConfigError
        ``skip`` names a step that there is not.
    """

    def __init__(
        self,
        store: Store,
        steps: Sequence[Step],
        config: ControlConfig,
        meter: ControlMeter | None = None,
        prepare: Callable[[], None] = do_nothing,
    ) -> None:
        known = [step.name for step in steps]
        for name in config.skip:
            if name not in known:
                raise ConfigError(
                    f"the controller has no step '{name}'{near_match(name, known)} (it has: {', '.join(known)})",
                    key="control.skip",
                )
        self.leadership = Leadership(store, config.lease_s)
        self._meter, self._prepare = meter or NoMeter(), prepare
        self._stopping = threading.Event()
        self.runners = [
            StepRunner(step, lambda: self.leadership.is_leader, self._meter, self._stopping)
            for step in steps
            if step.name not in config.skip
        ]
        self._was_leader = False
        self._said: str | None = None

    def run(self, stop: Callable[[], bool]) -> bool:
        """Run until ``stop`` gives True; whether every thread has ended by then, a second later at most.

        Parameters
        ----------
        stop
            Called again and again; may wait for a part of a second.
        """
        threading.Thread(target=self._beat, name="control-heartbeat", daemon=True).start()
        for runner in self.runners:
            runner.start()
        while not stop():
            self._notice()
        return self._end()

    def _beat(self) -> None:
        """Keep the lease. Waits for the database here, so that nothing else does."""
        is_prepared = False
        while not self._stopping.is_set():
            try:
                if not is_prepared:
                    self._prepare()
                    is_prepared = True
                self.leadership.renew()
            except DemurError as error:
                if str(error) != self._said:
                    _LOG.warning("the controller waits: %s", error)
                self._said = str(error)
            except Exception:
                _LOG.exception("the heartbeat of the controller failed")
            else:
                self._said = None
            self._stopping.wait(self.leadership.renew_every_s)

    def _notice(self) -> None:
        """Tell of a change of leadership, and pause what goes on behind steps when it is lost."""
        is_leader = self.leadership.is_leader
        self._meter.lead(is_leader)
        if is_leader == self._was_leader:
            return
        self._was_leader = is_leader
        if is_leader:
            _LOG.info("controller %s acts", self.leadership.holder)
            return
        _LOG.warning("controller %s does not act any more: it could not renew its lease", self.leadership.holder)
        for runner in self.runners:
            if runner.step.needs_lease:
                self._call(runner.step.name, runner.step.pause)

    def _end(self) -> bool:
        self._stopping.set()
        for runner in self.runners:
            self._call(runner.step.name, runner.step.close)
        until = time.monotonic() + _END_S
        ended = [runner.join(until - time.monotonic()) for runner in self.runners]
        release = threading.Thread(target=self._release, name="control-release", daemon=True)
        release.start()
        release.join(_RELEASE_S)
        self._meter.lead(False)
        return all(ended) and not release.is_alive()

    def _release(self) -> None:
        with suppress(DemurError):
            self.leadership.release()

    @staticmethod
    def _call(name: str, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:
            _LOG.exception("step %s did not stop as it should", name)
