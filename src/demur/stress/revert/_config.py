"""Settings of going back to the base."""

from __future__ import annotations

from demur.config import Settings


class RevertConfig(Settings):
    """There is nothing to set."""
