"""What hardening a model gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demur.harden._validate import Validation


@dataclass(frozen=True)
class HardenResult:
    """A trained circuit breaker and how its training went."""

    name: str
    folder: Path
    adapter: Path
    """Folder of the adapter, which loads on the whole base."""
    merged: Path | None
    """Folder of the merged model, where it was asked for."""
    base: str
    """The model the adapter belongs to."""
    targets: tuple[int, ...]
    """States that were rerouted."""
    trained_blocks: int
    """Blocks with adapters, from the lowest."""
    steps: int
    is_early: bool
    """Whether the stop rule ended training before its last step."""
    validations: tuple[Validation, ...] = field(repr=False)
    history: tuple[dict[str, Any], ...] = field(repr=False)
    """One entry a step: loss, both parts times their coefficients, norm of the gradient."""
    rows: dict[str, Any]
    """How many rows of each kind were used."""
    memory: dict[str, Any]
    """What was reckoned before the first step, in bytes."""
    seconds: float
    notes: tuple[str, ...] = ()
    """What whoever reads the figures should know, each a sentence."""

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object; folders are given within the run's."""
        return {
            "name": self.name,
            "adapter": self.adapter.name,
            "merged": self.merged.name if self.merged else None,
            "base": self.base,
            "targets": list(self.targets),
            "trained_blocks": self.trained_blocks,
            "steps": self.steps,
            "is_early": self.is_early,
            "validations": [one.to_json() for one in self.validations],
            "history": list(self.history),
            "rows": self.rows,
            "memory": self.memory,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }
