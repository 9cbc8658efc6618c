"""Files written whole or not at all, the hashes that tell whether they changed, and the folder of the cache."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from demur.errors import DemurError, is_disk_full, translate_os_error


def cache_folder() -> Path:
    """The user's folder for what can be made again: ``DEMUR_CACHE``, or ``demur`` in the system's cache folder."""
    given = os.environ.get("DEMUR_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "demur"


@contextmanager
def replace_when_done(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends well.

    Whoever is killed half-way leaves the old file, or none; never half a one.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        part = Path(name)
        yield part
        part.chmod(0o644)
        part.replace(path)
    except Exception as error:
        if isinstance(error, DemurError) or not (isinstance(error, OSError) or is_disk_full(error)):
            raise
        raise translate_os_error(error, f"writing {path}") from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)


@contextmanager
def replace_folder_when_done(folder: Path, doing: str, *, keep: bool = False) -> Iterator[Path]:
    """Yield a folder beside ``folder`` that takes its place when the block ends well, and goes when it does not.

    Parameters
    ----------
    folder
        Its parents are made where they are not there.
    doing
        What an error says was being done, as in ``writing x``.
    keep
        Keep a folder that is there by then, such as one that another process made meanwhile.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    part: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        with full_disk_as_os_error():
            yield part
        part.chmod(0o755)
        if folder.is_dir() and not keep:
            shutil.rmtree(folder)
        try:
            part.rename(folder)
        except OSError:
            if not (keep and folder.is_dir()):
                raise
    except OSError as error:
        raise translate_os_error(error, doing) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def full_disk_as_os_error() -> Iterator[None]:
    """Turn what safetensors and torch raise on a full disk into the ``OSError`` that Python would raise."""
    try:
        yield
    except Exception as error:
        text = str(error)
        # safetensors has an error of its own; torch's archive writer fails an inner check.
        if f"os error {errno.ENOSPC}" in text or "inline_container" in text:
            raise OSError(errno.ENOSPC, "No space left on device") from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with replace_when_done(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hash_files(paths: Iterable[Path]) -> str:
    """SHA-256 of the names and bytes of files, in hex; read again only where size or time has changed."""
    return _hash_stamped(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths))


@lru_cache(maxsize=64)
def _hash_stamped(files: tuple[tuple[str, int, int], ...]) -> str:
    return hash_value([[Path(path).name, hash_file(Path(path))] for path, _, _ in files])


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON-like value, in hex; independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
