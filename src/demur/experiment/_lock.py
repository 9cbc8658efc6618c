"""One run at a time in a folder: a lock that the system frees when its process ends, however it ends."""

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

    Where the file system knows no locks the folder is not guarded.

    Raises
    ------
    RunError
        Another process runs in the folder: wait for it, or choose another folder.
    StorageError
        The folder is not writable.
    """
    path = folder / NAME
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise translate_os_error(error, f"locking the run folder {folder}") from error
    try:
        if not _take(handle):
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


def _read(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, 64)


def _take(handle: int) -> bool:
    """Take the lock without waiting; False where another process has it."""
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
