"""Every error demur raises on purpose, as one tree; each also is the builtin a caller would expect.

::

    DemurError
    ├── UsageError (ValueError)             the caller's input is off; exit code 2
    │   ├── ConfigError                     a configuration key or value
    │   │   ├── LongRowError                more tokens than the model reads
    │   │   ├── MissingModelError           weights that are not here and cannot be fetched now; exit code 3
    │   │   └── SecretError                 a secret that is nowhere, or not as the reference says; exit code 3
    │   │       └── SecretUnavailableError  a source of secrets that does not answer
    │   ├── TaskError                       a task that is not defined, or defined badly
    │   ├── RegistryError (LookupError)     a plug-in name nobody registered
    │   ├── UnknownRowError (LookupError)   no row of that id is in the store
    │   └── DataError                       the data given
    │       ├── MissingColumnError (KeyError-like)
    │       ├── LabelError                  a label outside the task, or one class only
    │       ├── EmptyDataError              nothing left to work on
    │       ├── BadRowError                 a row that no store would take
    │       └── UnreadableFileError (OSError)
    ├── LeakError                           train and test share what they must not; exit code 1
    ├── ArtifactError                       a saved model that is incomplete, altered or foreign; exit code 1
    ├── TrainingError                       a model that could not be trained; exit code 1
    ├── RunError                            a run folder that cannot be used; exit code 1
    ├── StorageError (OSError)              the disk is full or not writable; exit code 1
    │   └── SpoolFullError                  as much waits for the database as was allowed
    ├── StoreError                          the database of records cannot be used as it is; exit code 1
    │   └── StoreUnavailableError (ConnectionError)  it does not answer now; it may later
    ├── ServeError                          the guard could not begin; exit code 1
    ├── NoMemoryError                       memory ran out; exit code 1
    └── MissingDependencyError (ImportError)  an extra is not installed; exit code 3
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any


class DemurError(Exception):
    """Root of all errors raised by demur; ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Whole to another process, whatever the class wants when it is made."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[DemurError], args: tuple[Any, ...], values: dict[str, Any]) -> DemurError:
    base: Any = kind
    while base.__module__ != "builtins":  # the one whose memory layout the class has, such as OSError's
        base = base.__base__
    error: DemurError = base.__new__(kind, *args)
    error.args = args
    error.__dict__.update(values)
    return error


class UsageError(DemurError, ValueError):
    """What the caller gave cannot be used."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key or value is wrong; ``key`` is its dotted path."""

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class LongRowError(ConfigError):
    """A row has more tokens than the model reads, or would have once it is answered."""


class MissingModelError(ConfigError):
    """A model's weights are not on this machine and no hub could be reached; ``model`` is its name.

    The configuration may be right all the same: an experiment skips such a model and goes on.
    """

    exit_code = 3

    def __init__(self, message: str, model: str) -> None:
        super().__init__(message, key="model")
        self.model = model


class SecretError(ConfigError):
    """A secret that the configuration names is nowhere, or lacks the key asked for; never holds a value."""

    exit_code = 3


class SecretUnavailableError(SecretError):
    """A source of secrets does not answer or refuses; the same call may work later."""


class TaskError(UsageError):
    """A task is unknown or its definition contradicts itself."""


class RegistryError(UsageError, LookupError):
    """No plug-in of that name is registered."""


class UnknownRowError(UsageError, LookupError):
    """No row of that id is in the store."""


class DataError(UsageError):
    """The data given cannot be used."""


class MissingColumnError(DataError):
    """A column is missing; ``column`` names it, ``available`` lists what is there."""

    def __init__(self, column: str, available: Iterable[str], where: str = "the data") -> None:
        self.column = column
        self.available = sorted(available)
        shown = ", ".join(self.available[:12]) or "none"
        super().__init__(
            f"{where} has no column '{column}' (it has: {shown}); map one with "
            f"columns: {{{column}: <their name>}} or --column {column}=<their name>"
            f"{near_match(column, self.available)}"
        )


class LabelError(DataError):
    """A label is not one of the task's, or too few classes are present."""


class EmptyDataError(DataError):
    """No usable row is left."""


class BadRowError(DataError):
    """A row that no store would take, however often it is tried; the message holds none of its texts."""


class UnreadableFileError(DataError, OSError):
    """A file is absent, truncated, or in another encoding than UTF-8."""


class LeakError(DemurError):
    """Rows that must not straddle a split do."""


class ArtifactError(DemurError):
    """A saved model is incomplete, altered, of another format, or gives other probabilities."""


class TrainingError(DemurError):
    """A model could not be trained; the message says why."""


class RunError(DemurError):
    """A run folder cannot be used."""


class StorageError(DemurError, OSError):
    """The disk is full or not writable."""


class SpoolFullError(StorageError):
    """As much waits on disk for the database as was allowed."""


class StoreError(DemurError):
    """The database of records cannot be used as it is; the message says what to do."""


class StoreUnavailableError(StoreError, ConnectionError):
    """The database does not answer now; the same call may work later."""


class ServeError(DemurError):
    """The guard could not begin, or none of its workers could; the message says why."""


class NoMemoryError(DemurError):
    """Memory ran out; the message says what saves some."""


class MissingDependencyError(DemurError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    exit_code = 3


def near_match(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Raises
    ------
    MissingDependencyError
        It is not installed; install the named extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"'{module}' is needed here and could not be imported ({error}); "
            f"install it with: pip install 'demur[{extra}]'"
        ) from error


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means a full disk; polars, safetensors and others hide the system's error in their own."""
    known = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return known or "No space left on device" in str(error)


def translate_os_error(error: Exception, doing: str) -> DemurError:
    """Turn an operating-system error met while ``doing`` something into one clear sentence.

    One that is a demur error already has its sentence and is given back.
    """
    if isinstance(error, DemurError):
        return error
    if is_disk_full(error):
        return StorageError(
            f"no disk space left while {doing}; free some space or choose another folder, "
            "then run the same command again: it goes on where it stopped"
        )
    number, file = getattr(error, "errno", None), getattr(error, "filename", None)
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"permission denied while {doing} ({file}); check its permissions")
    return StorageError(f"{getattr(error, 'strerror', None) or error} while {doing}")
