"""Where a child process of the supervisor stands: handed over on its standard input, never on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from demur.config import parse_settings
from demur.serve._config import ServeConfig
from demur.serve.secrets import Secrets, SecretText

if TYPE_CHECKING:
    from demur.store import ModelRow


@dataclass(frozen=True)
class Place:
    """What a child process is told."""

    role: Literal["worker", "controller"]
    number: int
    """Of the worker; the controller has the next one."""
    config: ServeConfig
    """In the child with every secret in it looked up."""
    folder: Path
    """Shared by the processes of this server, gone with it."""
    champions: tuple[ModelRow, ...] = ()
    """Whom to serve where the database does not answer; their tasks are those that this server answers."""
    signing: tuple[str, ...] = ()
    """Secrets that sign ids, the one in force first."""
    socket: int = -1
    """The listening socket, inherited."""
    listens_at_once: bool = False
    """Whether it listens before its models are warm, as the first workers do."""


def write_place(place: Place, secrets: Secrets) -> str:
    """A place as JSON, with every secret looked up: for a pipe to a child, and for nothing else.

    Raises
    ------
    SecretError
        A secret of the configuration is nowhere; set it where the message says.
    """
    values = {
        "role": place.role,
        "number": place.number,
        "config": _plain(place.config.model_dump(), secrets),
        "folder": str(place.folder),
        "champions": [row_to_json(row) for row in place.champions],
        "signing": list(place.signing),
        "socket": place.socket,
        "listens_at_once": place.listens_at_once,
    }
    return json.dumps(values)


def read_place(text: str) -> Place:
    """What :func:`write_place` wrote."""
    values = json.loads(text)
    values["config"] = parse_settings(ServeConfig, values["config"])
    values["champions"] = tuple(row_from_json(one) for one in values["champions"])
    return Place(**values | {"folder": Path(values["folder"]), "signing": tuple(values["signing"])})


def row_to_json(row: ModelRow) -> dict[str, Any]:
    """A row of the registry as plain values."""
    return asdict(row) | {"at": row.at.isoformat()}


def row_from_json(values: Mapping[str, Any]) -> ModelRow:
    """What :func:`row_to_json` gave."""
    from demur.store import ModelRow

    return ModelRow(**{**values, "at": datetime.fromisoformat(values["at"])})


def _plain(value: Any, secrets: Secrets) -> Any:
    if isinstance(value, SecretText):
        return secrets.reveal(value)
    if isinstance(value, Mapping):
        return {key: _plain(one, secrets) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one, secrets) for one in value]
    return str(value) if isinstance(value, Path) else value
