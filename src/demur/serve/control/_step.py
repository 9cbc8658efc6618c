"""What a step of the controller is; each package of the guard offers one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


def do_nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Work that the controller does again and again.

    A step keeps nothing that the next controller would miss: it may end at any moment, killed or because another
    process took over, and is then run somewhere else from what the store says.
    """

    name: str
    run: Callable[[datetime], object]
    """Does what is to be done at a time (UTC); may raise anything."""
    every_s: float
    """Seconds from the end of one run to the begin of the next."""
    needs_lease: bool = True
    """Whether only one of all controllers may do it; False for what is of its own host."""
    pause: Callable[[], None] = do_nothing
    """Called in another thread when another controller may act from now on: stop what goes on behind the step."""
    close: Callable[[], None] = do_nothing
    """Called in another thread when the process ends; must return at once."""
