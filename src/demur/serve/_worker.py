"""A worker: one process that answers on the inherited socket, and ends without dropping what it has begun.

``python -m demur.serve._worker`` reads its place on standard input, and says on standard output when it is ready
or why it cannot be.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from demur.errors import DemurError, StoreUnavailableError
from demur.paths import write_json
from demur.serve._place import Place, read_place, row_from_json, row_to_json

if TYPE_CHECKING:
    from demur.serve.api import Parts
    from demur.store import ModelRow

_LOG = logging.getLogger("demur.serve.worker")
_LOOK_S = 0.5
_KEEP_ALIVE_S = 75
_CHAMPIONS = "champions.json"


def main() -> None:
    """Be what standard input says: a worker, or the controller."""
    place = read_place(sys.stdin.read())
    from demur.serve._log import start_log
    from demur.serve.api import use_worker_number
    from demur.serve.secrets import Secrets

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the supervisor says what to do
    secrets = Secrets(place.config.secrets)
    secrets.reveal(place.config.database.url)
    stop_log = start_log(place.config.log, secrets.redactor)
    use_worker_number(place.number)
    try:
        if place.role == "controller":
            from demur.serve.control import run_controller

            say("ready")
            run_controller(place.config, watch_parent=True)
        else:
            Worker(place).run()
    except DemurError as error:
        say("failed", message=str(error), code=error.exit_code)
        sys.exit(error.exit_code)
    finally:
        stop_log()


def say(event: str, **facts: Any) -> None:
    """Tell the supervisor, if it still listens."""
    with suppress(OSError):
        sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
        sys.stdout.flush()


class Worker:
    """One process that answers.

    Parameters
    ----------
    place
        What the supervisor tells it.
    """

    def __init__(self, place: Place) -> None:
        from demur.serve._parts import make_parts

        self._place, self._config = place, place.config
        self._parts: Parts = make_parts(place)
        self._parts.refresh = self.refresh
        self._tasks = {row.task for row in place.champions}
        self._parent = os.getppid()
        self._is_stopping = asyncio.Event()

    def run(self) -> None:
        """Answer until SIGTERM, or until the supervisor is gone."""
        import uvicorn

        from demur.serve._http import allow_connections, make_protocol

        limits = self._config.limits
        config = uvicorn.Config(
            self._make_app(),
            http=make_protocol(limits.timeout_s, allow_connections(limits.connections)),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(self._config.drain_s) + 1,
        )
        loop_factory = config.get_loop_factory()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(self._serve(uvicorn.Server(config)))

    def refresh(self) -> None:
        """Bring the models in line with the registry; what was known holds where the database does not answer."""
        parts = self._parts
        with suppress(StoreUnavailableError):
            parts.router.refresh()
        rows = self._champions()
        others = []
        with suppress(StoreUnavailableError):
            found = [parts.store.model(task, version) for task, version in parts.router.wanted()]
            others = [row for row in found if row is not None]
        if parts.pool.update(rows, others):
            write_json(self._place.folder / _CHAMPIONS, [row_to_json(row) for row in rows])
            _LOG.info("models", extra={"facts": {"champions": {row.task: row.version[:12] for row in rows}}})

    def _champions(self) -> list[ModelRow]:
        """Of the registry; where it does not answer, those that a worker of this server saw last."""
        try:
            found = self._parts.store.models(stage="champion")
        except StoreUnavailableError:
            path = self._place.folder / _CHAMPIONS
            if not path.exists():
                return list(self._place.champions)
            found = [row_from_json(one) for one in json.loads(path.read_text(encoding="utf-8"))]
        return [row for row in found if row.task in self._tasks]

    def _make_app(self) -> Any:
        from demur.serve.api import install_extensions, make_app

        install_extensions(self._parts)
        return make_app(self._parts)

    async def _serve(self, server: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._is_stopping.set)
        server.capture_signals = nullcontext  # SIGTERM is ours: first not ready, then no new connections
        warming = asyncio.create_task(self._warm_up())
        if not self._place.listens_at_once:
            await warming
        answering = asyncio.create_task(server.serve(sockets=[socket.socket(fileno=self._place.socket)]))
        looking = [asyncio.create_task(work) for work in (self._watch_models(), self._watch_parent())]
        stopping = asyncio.create_task(self._is_stopping.wait())
        await asyncio.wait({answering, stopping, warming}, return_when=asyncio.FIRST_COMPLETED)
        if warming.done():
            warming.result()  # models that cannot be loaded end the worker
            await asyncio.wait({answering, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._parts.is_draining = True
        if not answering.done():
            await asyncio.sleep(self._config.drain_wait_s)
        server.should_exit = True
        await answering
        for task in (*looking, stopping, warming):
            task.cancel()
        await self._end()

    async def _warm_up(self) -> None:
        """Load every model; ready when that is done."""
        parts = self._parts
        await asyncio.to_thread(self.refresh)
        missing = self._tasks - set(parts.pool.state.champions)
        if missing:
            why = next(iter(parts.pool.problems.values()), "the registry has no champion for it")
            raise DemurError(f"the task '{sorted(missing)[0]}' has no model that can be served: {why}")
        with suppress(DemurError):
            await parts.gate.refresh()
        parts.warm.set()
        parts.metrics.look(parts.pool.state, is_ready=True)
        say("ready")

    async def _watch_models(self) -> None:
        """See now and then whether a model was promoted, and note figures."""
        await self._parts.warm.wait()
        waited = 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            waited += _LOOK_S
            self._parts.metrics.look(self._parts.pool.state, is_ready=not self._parts.is_draining)
            if waited >= self._config.refresh_s:
                waited = 0.0
                try:
                    await asyncio.to_thread(self.refresh)
                except DemurError as error:
                    _LOG.warning("models cannot be refreshed: %s", error)

    async def _watch_parent(self) -> None:
        """End when the supervisor was killed: nobody else would."""
        while os.getppid() == self._parent:
            await asyncio.sleep(_LOOK_S)
        self._is_stopping.set()

    async def _end(self) -> None:
        """Finish what goes on behind answers, and bring every record to the disk."""
        parts = self._parts
        while parts.background:
            await asyncio.wait(set(parts.background), timeout=self._config.drain_s)
        await parts.recorder.flush()
        await asyncio.to_thread(parts.pool.close)
        await asyncio.to_thread(parts.spool.close)
        parts.store.close()
        parts.buckets.close()
        if os.getppid() != self._parent:  # the supervisor was killed and cannot clear up
            shutil.rmtree(self._place.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
