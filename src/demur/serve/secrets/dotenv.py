"""Secrets in an ``.env`` file: read anew at every look-up, and never put into the environment."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from demur.config import Settings
from demur.errors import SecretUnavailableError, require
from demur.serve.secrets._source import PREVIOUS, Stage

_LOG = logging.getLogger(__name__)


class DotenvConfig(Settings):
    """Which file."""

    path: str = Field(default=".env", min_length=1, description="The file; relative to the working folder.")


class DotenvSource:
    """The line ``NAME=value`` of a file; ``NAME_PREVIOUS=value`` is the value before.

    ``$`` in a value stands for itself. A file that everybody on the machine can read is used with a warning.
    """

    config_type: ClassVar[type[Settings]] = DotenvConfig

    def __init__(self, config: DotenvConfig | None = None) -> None:
        self.config = config or DotenvConfig()
        self._path = Path(self.config.path).expanduser()
        self._is_warned = False

    def get(self, name: str, stage: Stage = "current") -> str | None:
        """The value in the file as it is now, or None.

        Raises
        ------
        SecretUnavailableError
            The file is there and cannot be read, or is not UTF-8.
        """
        dotenv = require("dotenv", extra="serve")
        try:
            mode = self._path.stat().st_mode
            if stat.S_ISDIR(mode):
                return None
            # A byte-order mark would become part of the first name.
            with self._path.open(encoding="utf-8-sig") as handle:
                values = dotenv.dotenv_values(stream=handle, interpolate=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError:
            raise SecretUnavailableError(f"{self._path} is not UTF-8 text; save it as UTF-8") from None
        except OSError as error:
            raise SecretUnavailableError(
                f"{self._path} cannot be read ({error.strerror}); check its owner and permissions"
            ) from None
        self._warn_once(mode)
        found: str | None = values.get(name if stage == "current" else name + PREVIOUS)
        return found

    def where(self) -> str:
        """The file, and whether there is one."""
        return f"dotenv ({self._path if self._path.is_file() else f'no file {self._path}'})"

    def _warn_once(self, mode: int) -> None:
        if os.name == "posix" and mode & stat.S_IROTH and not self._is_warned:
            self._is_warned = True
            _LOG.warning("%s can be read by everybody on this machine; run: chmod 600 %s", self._path, self._path)
