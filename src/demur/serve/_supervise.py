"""The supervisor: starts workers and a controller, restarts those that die, ends them with no request dropped.

It answers nothing itself. Its socket stays open while workers come and go, so that no connection is refused.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from demur.errors import DemurError, ServeError
from demur.serve._identity import keep_secret
from demur.serve._place import Place, write_place
from demur.serve._start import Ground, check_ground, listen

if TYPE_CHECKING:
    import socket

    from demur.serve._config import ServeConfig
    from demur.serve.secrets import Secrets

_LOG = logging.getLogger("demur.serve.supervisor")
_SHORT_LIFE_S = 5.0
_LONGEST_WAIT_S = 10.0
_MOST_FAILURES = 3
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
Role = Literal["worker", "controller"]


@dataclass
class Child:
    """One process."""

    role: Role
    number: int
    process: subprocess.Popen[str]
    started: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    listener: threading.Thread | None = None
    """Reads what it says."""


@dataclass(frozen=True)
class Event:
    """What happened."""

    kind: Literal["said", "ended", "signal", "restart"]
    child: Child | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    role: Role = "worker"


class Supervisor:
    """Runs a server from its ground to its end.

    Parameters
    ----------
    config
        The server.
    secrets
        Looks up what the configuration names, anew for every process that is started.
    ground
        What it stands on.
    tell
        Called with lines for whoever started it.
    listener
        The listening socket, which workers inherit.
    """

    def __init__(
        self,
        config: ServeConfig,
        secrets: Secrets,
        ground: Ground,
        tell: Callable[[str], None],
        listener: socket.socket,
    ) -> None:
        self._config, self._secrets, self._ground, self._tell = config, secrets, ground, tell
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._children: dict[tuple[Role, int], Child] = {}
        self._failures: dict[tuple[Role, int], int] = {}
        self._rolling: list[int] = []
        self._is_stopping = self._was_ready = False
        self._failed: ServeError | None = None
        self._folder = Path()
        self._socket = listener
        self._started = time.monotonic()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP restarts the workers one after the other, and the controller.

        Raises
        ------
        ServeError
            No worker could begin; the message says why.
        """
        with self._state_folder(), self._signals():
            host, port = self._socket.getsockname()[:2]
            self._tell(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            for number in range(self._config.workers):
                self._spawn("worker", number, listens_at_once=True)
            self._spawn("controller", self._config.workers)
            self._loop()
            self._end()
        if self._failed is not None:
            raise self._failed

    def _loop(self) -> None:
        while not self._is_stopping:
            event = self._events.get()
            if event.kind == "signal":
                self._on_signal(event.number)
            elif event.kind == "restart":
                self._spawn(event.role, event.number)
            elif event.kind == "said" and event.child is not None:
                self._on_said(event.child, event.facts)
            elif event.kind == "ended" and event.child is not None:
                self._on_ended(event.child)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._secrets.refresh()
            self._rolling = list(range(self._config.workers))
            self._roll_on()
            for child in self._children.values():
                if child.role == "controller":
                    self._send(child, signal.SIGTERM)
        else:
            self._is_stopping = True

    def _on_said(self, child: Child, facts: dict[str, Any]) -> None:
        if facts.get("event") == "failed":
            _LOG.error("%s %d: %s", child.role, child.number, facts.get("message"))
            if not self._was_ready and child.role == "worker":
                self._failed = ServeError(str(facts.get("message")))
                self._is_stopping = True
            return
        child.is_ready = True
        self._failures.pop((child.role, child.number), None)
        workers = [one for one in self._children.values() if one.role == "worker"]
        if not self._was_ready and all(one.is_ready for one in workers):
            self._was_ready = True
            self._tell(f"ready after {time.monotonic() - self._started:.1f} s")
        self._roll_on()

    def _roll_on(self) -> None:
        """End the next worker that is to be restarted, once all others are ready."""
        workers = [one for one in self._children.values() if one.role == "worker"]
        if self._rolling and len(workers) == self._config.workers and all(one.is_ready for one in workers):
            child = self._children[("worker", self._rolling.pop(0))]
            child.is_ready = False
            self._send(child, signal.SIGTERM)

    def _on_ended(self, child: Child) -> None:
        """Start another in its place; at once, unless it keeps dying."""
        key = (child.role, child.number)
        self._children.pop(key, None)
        self._forget(child)
        code = child.process.returncode
        lived = time.monotonic() - child.started
        wait_s = 0.0
        if code != 0:
            _LOG.error(
                "%s %d ended with %d after %.1f s and is started again", child.role, child.number, code, lived
            )
        if lived < _SHORT_LIFE_S or not child.is_ready:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            if failures >= _MOST_FAILURES and child.role == "worker" and not self._was_ready:
                self._failed = ServeError(
                    f"worker {child.number} ended {failures} times before it was ready, the last time with {code} "
                    "(-9: killed, often for want of memory); see the log"
                )
                self._is_stopping = True
            wait_s = 0.0 if failures == 1 else min(_LONGEST_WAIT_S, 0.25 * 2 ** min(failures, 10))
        timer = threading.Timer(wait_s, self._events.put, [Event("restart", number=child.number, role=child.role)])
        timer.daemon = True
        timer.start()

    def _spawn(self, role: Role, number: int, *, listens_at_once: bool = False) -> None:
        place = Place(
            role=role,
            number=number,
            config=self._config,
            folder=self._folder,
            champions=self._ground.champions,
            signing=self._signing(),
            socket=self._socket.fileno() if role == "worker" else -1,
            listens_at_once=listens_at_once,
        )
        text = write_place(place, self._secrets)
        process = subprocess.Popen(
            [sys.executable, "-m", "demur.serve._worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment(),
            pass_fds=[self._socket.fileno()] if role == "worker" else [],
        )
        child = self._children[(role, number)] = Child(role, number, process)
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.write(text)
            process.stdin.close()
        child.listener = threading.Thread(target=self._listen_to, args=[child], daemon=True)
        child.listener.start()

    def _signing(self) -> tuple[str, ...]:
        """The secrets that sign ids: those of the configuration, else the one beside the spool."""
        if self._config.secret is not None:
            return self._secrets.accepted(self._config.secret)
        return (keep_secret(Path(self._config.spool.folder)).decode(),)

    def _environment(self) -> dict[str, str]:
        """As ours, with a place for figures, and no more threads in libraries than are meant to judge."""
        own = {_METRICS: str(self._folder / "metrics"), "TOKENIZERS_PARALLELISM": "false"}
        threads = {"OMP_NUM_THREADS": str(self._config.judging_threads)}
        return threads | dict(os.environ) | own

    def _listen_to(self, child: Child) -> None:
        assert child.process.stdout is not None
        for line in child.process.stdout:
            try:
                facts = json.loads(line)
            except ValueError:  # a library printed something
                continue
            if isinstance(facts, dict):
                self._events.put(Event("said", child, facts))
        child.process.stdout.close()
        child.process.wait()
        self._events.put(Event("ended", child))

    def _forget(self, child: Child) -> None:
        from demur.serve.api import forget_worker

        forget_worker(self._folder / "metrics", child.number)

    def _send(self, child: Child, number: int) -> None:
        with suppress(ProcessLookupError):
            child.process.send_signal(number)

    def _end(self) -> None:
        """Workers first, then the controller; then what is left on disk goes into the database, if it answers."""
        for role in ("worker", "controller"):
            children = [one for one in self._children.values() if one.role == role]
            for child in children:
                self._send(child, signal.SIGTERM)
            until = time.monotonic() + self._config.drain_wait_s + self._config.drain_s + _SHORT_LIFE_S
            for child in children:
                try:
                    child.process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    _LOG.error("%s %d did not end in time and was killed", child.role, child.number)
                    child.process.kill()
                    child.process.wait()
                if child.listener is not None:
                    child.listener.join(_SHORT_LIFE_S)
        if self._failed is None and self._config.records != "off":
            self._drain()

    def _drain(self) -> None:
        from demur.store import open_store

        spool = self._config.spool.open()
        try:
            with open_store(self._secrets.reveal(self._config.database.url)) as store:
                spool.drain(store)
        except DemurError as error:
            self._tell(f"records wait on disk until the server runs again: {error}")

    @contextmanager
    def _state_folder(self) -> Iterator[None]:
        self._folder = Path(tempfile.mkdtemp(prefix="demur-serve-"))
        (self._folder / "metrics").mkdir()
        try:
            yield
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, frame: Any) -> None:
            self._events.put(Event("signal", number=number))

        before = {one: signal.signal(one, note) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def serve_guard(
    config: ServeConfig,
    tell: Callable[[str], None] = lambda line: None,
    told: Callable[[ServeConfig, Ground], list[str]] = lambda config, ground: [],
    *,
    use_configured: bool = False,
) -> None:
    """Check the ground, serve, and come back when the server has ended.

    Parameters
    ----------
    config
        The server.
    tell
        Called with lines for whoever started it: what ``told`` gives, where it listens, when it is ready.
    told
        Says in words what the server stands on.
    use_configured
        Make the configuration's models champions also where others were promoted since.

    Raises
    ------
    ConfigError
        No model is given, or two have the same task.
    ArtifactError
        A model is damaged, or none of demur's.
    StoreUnavailableError
        The database does not answer and must.
    UsageError
        The port is taken.
    ServeError
        No worker could begin.
    """
    from demur.serve._log import start_log
    from demur.serve.secrets import Secrets

    secrets = Secrets(config.secrets)
    with listen(config.host, config.port) as listener:
        ground = check_ground(config, secrets, use_configured=use_configured)
        stop_log = start_log(config.log, secrets.redactor)
        try:
            for line in told(config, ground):
                tell(line)
            Supervisor(config, secrets, ground, tell, listener).run()
        finally:
            stop_log()
