"""How much breaking and retaining count at each step of the optimiser."""

from __future__ import annotations

from dataclasses import dataclass

from demur.errors import ConfigError


@dataclass(frozen=True)
class Coefficients:
    """Factors on the two losses."""

    breaker: float
    retain: float


def schedule_losses(step: int, steps: int, alpha: float) -> Coefficients:
    """Coefficients of one step: the breaker's falls from alpha to alpha/2, the retain loss's rises from 0 to it.

    Parameters
    ----------
    step
        The step of the optimiser, from 1; however many forward passes it is made of. Beyond ``steps`` nothing
        changes any more, so that no coefficient becomes negative.
    steps
        Steps in all.
    alpha
        Scale of both.

    Raises
    ------
    ConfigError
        ``step`` or ``steps`` is below 1.

    References
    ----------
    Zou et al. 2024, "Improving Alignment and Robustness with Circuit Breakers", algorithm 1.
    """
    if step < 1 or steps < 1:
        raise ConfigError(
            f"steps are counted from 1, and step {step} of {steps} was asked for; give positive ones"
        )
    progress = min(step, steps) / (2 * steps)
    return Coefficients(breaker=alpha * (1 - progress), retain=alpha * progress)
