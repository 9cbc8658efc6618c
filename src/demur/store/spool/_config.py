"""Settings of the spool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from demur.config import Settings
from demur.store.spool._file import Fsync

if TYPE_CHECKING:
    from demur.store.spool._spool import Spool


class SpoolConfig(Settings):
    """Where rows wait for the database, and how safe they are there."""

    folder: Path = Field(Path("spool"), description="Folder of the spool, on a disk of this machine.")
    fsync: Fsync = Field(
        "interval",
        description="When rows are forced to the disk: with each commit (always), every fsync_interval_s "
        "(interval), or when the system likes (never). It matters when the power fails, not when a process dies.",
    )
    fsync_interval_s: float = Field(1.0, gt=0, le=3600, description="Most seconds between two forced writes.")
    max_bytes: int = Field(2**30, ge=2**16, description="Bytes that may wait in the folder; more are refused.")

    def open(self) -> Spool:
        """Open the spool."""
        from demur.store.spool._spool import Spool

        return Spool(self.folder, self.fsync, interval_s=self.fsync_interval_s, max_bytes=self.max_bytes)
