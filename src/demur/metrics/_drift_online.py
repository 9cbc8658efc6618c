"""When signals of one window after another become an alarm: online control of false alarms, or k of m.

Windows are looked at again and again. Each alone signals falsely at most alpha of the time; a year of them hardly
ever stays quiet. What is done about an alarm is left to the monitor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from demur.config import Settings


class AlarmConfig(Settings):
    """How signals of windows become an alarm."""

    rule: Literal["lond", "k_of_m", "each"] = Field(
        default="lond",
        description="Online false-discovery control; some of the last windows; or every signal of a window.",
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Chance of a false signal of a window; under lond also of any false alarm in a season.",
    )
    season: int = Field(default=50, ge=1, le=100_000, description="Of lond: windows that share one alpha.")
    k: int = Field(default=2, ge=1, description="Of k_of_m: windows that must signal.")
    m: int = Field(default=3, ge=1, description="Of k_of_m: the last windows that are looked at.")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.k > self.m:
            raise ValueError(
                f"k is {self.k} and m is {self.m}; k windows of the last m must signal, so k is at most m"
            )
        return self


@dataclass(frozen=True)
class AlarmState:
    """What an alarm rule remembers between windows."""

    tested: int = 0
    """Windows of this season."""
    alarms: int = 0
    """Alarms of this season."""
    recent: tuple[bool, ...] = ()
    """Whether the last windows signalled."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"recent": list(self.recent)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> AlarmState:
        """Back from plain values."""
        return cls(int(values["tested"]), int(values["alarms"]), tuple(bool(one) for one in values["recent"]))


@dataclass(frozen=True)
class AlarmDecision:
    """What a window's p-value led to."""

    is_signal: bool
    """The window alone: at most alpha."""
    is_alarm: bool
    level: float
    """The p-value had to be at most this for an alarm (of lond; else alpha)."""
    state: AlarmState


def decide_alarm(p_value: float | None, state: AlarmState, config: AlarmConfig) -> AlarmDecision:
    """Take the p-value of the next window.

    ``lond`` alarms where the p-value is at most ``alpha / season`` times one more than the alarms so far of the
    season. If nothing changes during a season, the chance of any alarm in it is at most alpha, however much the
    windows depend on each other (they overlap, and share the reference), since the levels sum to alpha; and where
    some alarms are right, the share of false ones is at most alpha under positive dependence. Levels are the same
    through a season, because drift is as likely in the fiftieth window as in the first. SAFFRON and LORD, which
    find more, need p-values that are valid given the earlier ones; those of windows of one reference are not.

    ``k_of_m`` is quick and plain and promises nothing: an unlucky reference makes all windows signal.

    Parameters
    ----------
    p_value
        Of "nothing has changed", over all tests of the window; None where none could be made: no window then.
    state
        From the window before.
    config
        The rule.

    References
    ----------
    Javanmard and Montanari, Online rules for control of false discovery rate, Ann. Statist. 46, 2018, section 2
    (LOND); Zrnic, Ramdas and Jordan, Asynchronous online testing of multiple hypotheses, JMLR 22, 2021, section 4
    (positive dependence).
    """
    if p_value is None:
        return AlarmDecision(False, False, 0.0, state)
    if state.tested >= config.season and config.rule == "lond":
        state = AlarmState(recent=state.recent)
    is_signal = p_value <= config.alpha
    recent = (*state.recent, is_signal)[-config.m :]
    level = config.alpha
    if config.rule == "lond":
        level = min(config.alpha / config.season * (state.alarms + 1), config.alpha)
    is_alarm = sum(recent) >= config.k and is_signal if config.rule == "k_of_m" else p_value <= level
    return AlarmDecision(is_signal, is_alarm, level, AlarmState(state.tested + 1, state.alarms + is_alarm, recent))
