"""Secrets as files: one file a secret, as Docker, Kubernetes and systemd hand them to a process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from demur.config import Settings
from demur.errors import SecretUnavailableError
from demur.serve.secrets._source import PREVIOUS, Stage

_FOLDER = "/run/secrets"
_LONGEST_NAME = 255


class FilesConfig(Settings):
    """Which folder."""

    folder: str | None = Field(
        default=None,
        description="The folder; absent: systemd's CREDENTIALS_DIRECTORY where set, else /run/secrets.",
    )


class FilesSource:
    """The file of the secret's name in one folder, less a line end; ``NAME_PREVIOUS`` is the value before.

    It is read anew at every look-up, so a mounted secret that is replaced takes effect without a restart.
    """

    config_type: ClassVar[type[Settings]] = FilesConfig

    def __init__(self, config: FilesConfig | None = None) -> None:
        self.config = config or FilesConfig()
        self._folder = Path(self.config.folder or os.environ.get("CREDENTIALS_DIRECTORY") or _FOLDER)

    def get(self, name: str, stage: Stage = "current") -> str | None:
        """The text of the file as it is now, or None.

        Raises
        ------
        SecretUnavailableError
            The file is there and cannot be read, or is not UTF-8.
        """
        file = name if stage == "current" else name + PREVIOUS
        if Path(file).name != file or "\0" in file or len(os.fsencode(file)) > _LONGEST_NAME:
            return None  # no name of a file; a path would lead out of the folder
        path = self._folder / file
        try:
            text = path.read_bytes().decode("utf-8")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except UnicodeDecodeError:
            raise SecretUnavailableError(f"the secret file {path} is not UTF-8 text; encode it first") from None
        except OSError as error:
            raise SecretUnavailableError(
                f"the secret file {path} cannot be read ({error.strerror}); "
                f"let the user that runs demur (id {_user_id()}) read it"
            ) from None
        return text.removesuffix("\n").removesuffix("\r")

    def where(self) -> str:
        """The folder, and whether there is one."""
        return f"files ({self._folder if self._folder.is_dir() else f'no folder {self._folder}'})"


def _user_id() -> int | str:
    return os.geteuid() if hasattr(os, "geteuid") else "unknown"
