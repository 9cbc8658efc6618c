"""Settings of the direct request."""

from __future__ import annotations

from demur.config import Settings


class DirectConfig(Settings):
    """There is nothing to set."""
