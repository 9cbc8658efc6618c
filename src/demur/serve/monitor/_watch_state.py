"""Where the watch over a task stands, as it is kept between steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from demur.metrics import AlarmState


@dataclass(frozen=True)
class WatchState:
    """Where the watch over a task stands."""

    version: str
    began_at: datetime
    """Rows from then on may be in a window."""
    cursor: datetime
    """Rows before it were in a window already, or are of the reference."""
    looked_at: datetime
    reference: str | None = None
    alarm: AlarmState = field(default_factory=AlarmState)
    operation: AlarmState = field(default_factory=AlarmState)
    told: dict[str, str] = field(default_factory=dict)
    """When an alarm that goes on was last told, by its kind."""
    note: str | None = None
    """Why nothing is watched, if so."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        times = {name: getattr(self, name).isoformat() for name in ("began_at", "cursor", "looked_at")}
        states = {"alarm": self.alarm.to_json(), "operation": self.operation.to_json()}
        return times | states | {name: getattr(self, name) for name in ("version", "reference", "told", "note")}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> WatchState:
        """Back from plain values."""
        changed: dict[str, Any] = {
            name: datetime.fromisoformat(values[name]) for name in ("began_at", "cursor", "looked_at")
        }
        changed |= {name: AlarmState.from_json(values[name]) for name in ("alarm", "operation")}
        return cls(**(values | changed))


def state_name(task: str) -> str:
    """Where the state of a watch is kept."""
    return f"watch/{task}"
