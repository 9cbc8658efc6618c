"""A process that is a controller: its store, its signals, its end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from demur.serve.control._loop import Controller
from demur.serve.control._meter import PrometheusMeter
from demur.serve.control._step import do_nothing
from demur.serve.control._steps import make_steps

if TYPE_CHECKING:
    from demur.serve._config import ServeConfig

_LOOK_S = 0.2


def run_controller(config: ServeConfig, *, watch_parent: bool = False, writes_log: bool = False) -> None:
    """Be the controller of this host until SIGTERM or SIGINT; call it in the main thread of a process of its own.

    Ends within a second. A step that is in the middle of something then, such as a statement that a database does
    not answer, is left there and the process ended all the same: whatever a step does, it may be killed.

    Parameters
    ----------
    config
        Of the guard.
    watch_parent
        Also end when the process that started this one has ended.
    writes_log
        Begin the log as the configuration says; a supervisor's child has begun it.

    Raises
    ------
    ConfigError
        The configuration does not fit.
    SecretError
        A secret of the database's address is nowhere.
    """
    from demur.serve._log import start_log
    from demur.serve.secrets import Secrets
    from demur.store import open_store

    stopping, parent = threading.Event(), os.getppid()

    def stop(number: int, frame: Any) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # under a supervisor Ctrl-C is its own
        signal.signal(signal.SIGINT, stop)
    secrets = Secrets(config.secrets)
    store = open_store(secrets.reveal(config.database.url))
    stop_log = start_log(config.log, secrets.redactor) if writes_log else do_nothing

    def prepare() -> None:
        if config.database.migrate:
            store.migrate()
        store.ping()

    controller = Controller(store, make_steps(config, store), config.control, PrometheusMeter(), prepare)
    is_clean = controller.run(lambda: stopping.wait(_LOOK_S) or (watch_parent and os.getppid() != parent))
    stop_log()
    if is_clean:
        store.close()
        return
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
