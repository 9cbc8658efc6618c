"""What a fine-tuning keeps on disk: weights at each stage, and one state of the optimiser to go on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from demur.paths import replace_when_done, write_json

_MARK = "tuning.json"


class TuneFolder:
    """The folder of one fine-tuning; without one nothing is kept.

    Parameters
    ----------
    folder
        Emptied where it is of another fine-tuning.
    fingerprint
        Of everything that decides the course of this one.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self.folder, self._fingerprint = folder, fingerprint
        self._record: dict[str, Any] = {"fingerprint": fingerprint, "state": None, "stages": {}}
        if folder is not None:
            found = _read(folder / _MARK)
            if found is not None and found.get("fingerprint") == fingerprint:
                self._record = found
            elif folder.exists():
                shutil.rmtree(folder)

    def stage(self, step: int) -> tuple[Path, dict[str, Any]] | None:
        """Folder of the weights of a stage and what was noted with them, where they were kept."""
        notes = self._record["stages"].get(str(step))
        if self.folder is None or notes is None:
            return None
        return self.folder / f"step-{step:06d}", notes

    def begin_stage(self, step: int) -> Path | None:
        """An empty folder for the weights of a stage; they count once :meth:`end_stage` was called."""
        if self.folder is None:
            return None
        path = self.folder / f"step-{step:06d}"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def end_stage(self, step: int, notes: dict[str, Any]) -> None:
        """Let the weights of a stage count."""
        self._record["stages"][str(step)] = notes
        self._write()

    @property
    def state_step(self) -> int | None:
        """Step of the optimiser's state that is kept."""
        state = self._record["state"]
        return None if state is None else int(state["step"])

    def load_state(self) -> tuple[Any, dict[str, Any]]:
        """Tensors of the state, and what was noted with it."""
        import torch

        assert self.folder is not None
        state = self._record["state"]
        return torch.load(self.folder / state["file"], map_location="cpu", weights_only=True), state["notes"]

    def save_state(self, step: int, tensors: Any, notes: dict[str, Any]) -> None:
        """Keep the state after a step in place of the one before.

        Raises
        ------
        StorageError
            The disk is full or not writable.
        """
        import torch

        from demur.paths import full_disk_as_os_error

        if self.folder is None:
            return
        name = f"state-{step:06d}.pt"
        with replace_when_done(self.folder / name) as part, full_disk_as_os_error():
            torch.save(tensors, part)
        self._record["state"] = {"step": step, "file": name, "notes": notes}
        self._write()
        for path in self.folder.glob("state-*.pt"):
            if path.name != name:
                path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self.folder is not None:
            write_json(self.folder / _MARK, self._record)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
