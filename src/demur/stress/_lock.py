"""One run at a time in a folder, by a lock that the system frees with its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demur.errors import RunError, translate_os_error


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; where the file system knows no locks it is not guarded.

    Parameters
    ----------
    folder
        Made where it is not there.

    Raises
    ------
    RunError
        Another process runs in the folder.
    StorageError
        The folder is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("a", encoding="ascii")
    except OSError as error:
        raise translate_os_error(error, f"locking the run folder {folder}") from error
    with handle:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another run is writing to {folder}; wait until it has ended, or choose another folder with --out"
            ) from None
        except (ImportError, OSError):
            pass
        yield
