"""Locks of files that the system frees when their process ends, however it ends.

Where the file system knows no locks nothing is guarded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from demur.errors import RunError, translate_os_error

NAME = ".lock"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process.

    Parameters
    ----------
    folder
        Made where it is not there.

    Raises
    ------
    RunError
        Another process runs in the folder: wait for it, or choose another folder.
    StorageError
        The folder is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open_lock(folder / NAME)
    except OSError as error:
        raise translate_os_error(error, f"locking the run folder {folder}") from error
    try:
        if not take_lock(handle):
            owner = _read(handle).decode("ascii", "replace").strip()
            raise RunError(
                f"another run (process {owner or 'unknown'}) is writing to {folder}; wait until it has ended, "
                "or choose another folder with --out"
            )
        with suppress(OSError):  # the number only serves the message of others
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def open_lock(path: Path) -> int:
    """A file to lock, made where it is not there; closing it frees it."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def take_lock(handle: int) -> bool:
    """Take the lock of an open file without waiting; False where another has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _read(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, 64)
