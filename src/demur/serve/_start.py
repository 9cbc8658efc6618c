"""What must hold before a server begins: models, database, port. Each fault is one sentence with its remedy."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demur.errors import StoreUnavailableError, UsageError
from demur.serve._config import ServeConfig
from demur.serve.pool import find_models, register_models

if TYPE_CHECKING:
    from demur.serve.secrets import Secrets
    from demur.store import ModelRow

_BACKLOG = 2048


@dataclass(frozen=True)
class Ground:
    """What a server stands on."""

    champions: tuple[ModelRow, ...]
    """One a task."""
    has_database: bool
    """Whether it answered."""
    has_keys: bool | None
    """Whether there is a key that is not revoked; None where nobody could be asked."""


def check_ground(config: ServeConfig, secrets: Secrets, *, use_configured: bool = False) -> Ground:
    """Check the models, bring the database to its version, and register the models in it.

    Parameters
    ----------
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
    SecretError
        A secret of the configuration is nowhere.
    """
    from demur.store import open_store

    rows = find_models(config.models)
    with open_store(secrets.reveal(config.database.url)) as store:
        try:
            if config.database.migrate:
                store.migrate()
            champions = register_models(store, rows, is_forced=use_configured)
            served = [one for one in champions if _is_there(one, rows)]
            keys = store.keys()
            return Ground(tuple(served), True, any(key.revoked_at is None for key in keys))
        except StoreUnavailableError as error:
            if config.database.required:
                raise StoreUnavailableError(
                    f"{error}; a server begins without it where database.required is false: records then wait "
                    "on disk, and keys of before are not known"
                ) from error
            return Ground(tuple(rows), False, None)


def _is_there(champion: ModelRow, rows: Sequence[ModelRow]) -> bool:
    """Of the registry's champions, those whose task this server has a model for."""
    return any(champion.task == row.task for row in rows)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, which child processes may inherit.

    Raises
    ------
    UsageError
        The port is taken, or the address is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} of {host} is in use; stop what listens there, or give another with --port"
            ) from None
        if error.errno == errno.EACCES:
            raise UsageError(f"port {port} is for the administrator; give one above 1023 with --port") from None
        raise UsageError(f"{host}:{port} cannot be listened on ({error.strerror}); give another --host") from None
