"""Where a cell of a grid keeps what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.stress._keys import CellKeys


@dataclass(frozen=True)
class CellPlace:
    """Where a cell keeps what."""

    root: Path
    keys: CellKeys

    @property
    def result(self) -> Path:
        """All figures."""
        return self.root / "cells" / f"{self.keys.result}.json"

    @property
    def replies(self) -> Path:
        """Responses."""
        return self.root / "replies" / self.keys.replies

    @property
    def work(self) -> Path:
        """Adapters and states of the attack."""
        return self.root / "work" / self.keys.work

    def read(self) -> dict[str, Any] | None:
        """What is known of the cell, None where nothing is."""
        try:
            found = json.loads(self.result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        found = self.read()
        # What was skipped may have wanted a library or a model that is there by now.
        return found is not None and found["status"] in ("done", "failed")
