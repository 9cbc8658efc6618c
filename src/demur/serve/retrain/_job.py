"""The process of one step: stands back for what answers, dies with its controller, leaves a result or a reason.

``python -m demur.serve.retrain._job`` reads its order on standard input, which stays open: where it closes, the
controller has ended, however it ended, and so does this process with all it has started.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.errors import (
    DemurError,
    MissingDependencyError,
    NoMemoryError,
    RunError,
    StorageError,
    StoreUnavailableError,
)
from demur.locks import open_lock, take_lock
from demur.serve.retrain._compare import compare
from demur.serve.retrain._gather import gather
from demur.serve.retrain._order import Order, Work
from demur.serve.retrain._train import train

_DO: Mapping[Work, Callable[[Order], dict[str, Any]]] = {
    "gathering": gather,
    "training": train,
    "comparing": compare,
}
_WAIT_S = 30.0
_LATER = (StoreUnavailableError, StorageError, NoMemoryError, MissingDependencyError)
"""Errors that may be gone when the same is tried again."""


def main() -> None:
    """Do the step that standard input says."""
    order = Order.from_text(sys.stdin.readline())
    threading.Thread(target=die_with_controller, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(order.nice)
    sys.exit(do(order))


def do(order: Order) -> int:
    """Do a step, and leave its result or why there is none; the exit code."""
    files = order.files
    with hold(files.lock):
        files.forget_error(order.work)
        try:
            result = _DO[order.work](order)
        except DemurError as error:
            is_final = not isinstance(error, _LATER)
            is_counted = not isinstance(error, StoreUnavailableError)
            files.write_error(order.work, {"reason": str(error), "is_final": is_final, "is_counted": is_counted})
            return error.exit_code
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__} while {order.work}; see {files.log}"
            files.write_error(order.work, {"reason": reason, "is_final": False, "is_counted": True})
            return 1
        files.write_result(order.work, result)
        return 0


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the only process of a retraining; one whose controller was killed is given time to end.

    Raises
    ------
    RunError
        Another works on it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, until = open_lock(path), time.monotonic() + _WAIT_S
    try:
        while not take_lock(handle):
            if time.monotonic() > until:
                raise RunError(f"another process works on the retraining in {path.parent}")
            time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def die_with_controller() -> None:
    """Wait until standard input closes, then end this process and its children at once."""
    while os.read(0, 1):  # not through sys.stdin, whose lock would be held when the process ends
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
