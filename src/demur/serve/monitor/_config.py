"""Settings of the monitor: what is sampled, windows, references, alarms, escalation and alerts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from demur.config import Settings
from demur.metrics import AlarmConfig
from demur.serve.secrets import SecretText


class InputConfig(Settings):
    """What is kept of inputs, to see whether they change: numbers and a language, never a text."""

    enabled: bool = Field(default=True, description="Whether inputs are sampled at all.")
    rate: float = Field(default=1.0, gt=0, le=1, description="Share of requests that may be sampled.")
    max_per_s: int = Field(
        default=10, ge=1, le=10_000, description="Items a second, of each worker, drawn evenly of a second's."
    )
    encoder: str | None = Field(
        default=None, description="Sentence encoder such as embedded:minilm; null: counts of words and characters."
    )
    max_waiting: int = Field(
        default=2000, ge=1, le=10**6, description="Samples that wait for a database that is down; older ones go."
    )


class WindowConfig(Settings):
    """Which rows are looked at together, and when."""

    rows: int = Field(default=250, ge=50, le=100_000, description="Rows of a window, the newest ones.")
    every: int = Field(default=125, ge=10, le=100_000, description="New rows after which the next is looked at.")
    max_s: float | None = Field(
        default=86_400.0,
        gt=0,
        description="Seconds after which it is looked at although fewer new rows came; null: only by rows.",
    )
    min_rows: int = Field(default=100, ge=20, description="Fewest rows of a window that is due by time.")
    min_gap_s: float = Field(
        default=60.0, ge=0, description="Fewest seconds between two windows, however many rows come."
    )
    settle_s: float = Field(
        default=10.0, ge=0, description="Seconds after which rows have surely come from every worker's disk."
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.every > self.rows:
            raise ValueError(
                f"every is {self.every} and rows is {self.rows}, so that some rows would be in no window; "
                "make every at most rows"
            )
        if self.min_rows > self.rows:
            raise ValueError(f"min_rows is {self.min_rows}, more than rows ({self.rows}); make it at most rows")
        return self


class ReferenceConfig(Settings):
    """What windows are compared with."""

    source: Literal["auto", "model", "live"] = Field(
        default="auto",
        description="Rows saved with the model; the first live ones of its version; auto: those saved, if any.",
    )
    rows: int = Field(default=1000, ge=100, le=20_000, description="Live rows of a reference.")


class CompareConfig(Settings):
    """How a window is compared with the reference."""

    unit: Literal["burst", "subject", "row"] = Field(
        default="burst",
        description="What counts once: near-duplicates close in time; all rows of a subject; every row.",
    )
    burst_s: float = Field(default=60.0, ge=0, description="Longest gap in seconds between two rows of a burst.")
    permutations: int = Field(default=9999, ge=999, le=10**6, description="Most draws of a test.")
    refits: int = Field(
        default=999, ge=99, le=10**5, description="Most draws of the classifier test, which fits again for each."
    )
    bins: int = Field(default=10, ge=2, le=100, description="Bins of the stability index.")
    block: int = Field(
        default=10, ge=1, le=1000, description="Neighbouring requests of which latency is averaged."
    )


class LevelConfig(Settings):
    """One size of a sample that is judged."""

    rows: int = Field(ge=5, le=100_000, description="Rows, those of the levels before included.")
    confidence: float = Field(gt=0.5, lt=1, description="Of the lower bound that must pass.")


class JudgeConfig(Settings):
    """Who says what the sampled rows really are."""

    kind: Literal["people", "classifier", "plugin"] = Field(
        default="people",
        description="People, who send feedback; a stronger classifier of demur; a registered judge.",
    )
    model: str | None = Field(default=None, description="Of classifier: the folder of a saved model of the task.")
    name: str | None = Field(default=None, description="Of plugin: its name under demur.judges.")
    batch: int = Field(default=16, ge=1, le=1000, description="Rows judged in one go, a step.")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.kind == "classifier" and not self.model:
            raise ValueError("a judge of kind classifier needs model: the folder of a saved model of the task")
        if self.kind == "plugin" and not self.name:
            raise ValueError("a judge of kind plugin needs name: the one it is registered under")
        return self


_LEVELS = (
    LevelConfig(rows=25, confidence=0.8),
    LevelConfig(rows=75, confidence=0.9),
    LevelConfig(rows=200, confidence=0.95),
)


class EscalationConfig(Settings):
    """From a drift alarm to retraining: ever larger samples are judged while they contradict the champion."""

    enabled: bool = Field(default=True, description="Whether an alarm leads to judging.")
    judge: JudgeConfig = Field(default=JudgeConfig(), description="Who judges.")
    bound: float = Field(
        default=0.15, gt=0, lt=1, description="Share of judged rows that may contradict the champion."
    )
    levels: tuple[LevelConfig, ...] = Field(
        default=_LEVELS, min_length=1, description="Sizes of the samples, from small to large."
    )
    min_scored: float = Field(
        default=0.6, gt=0, le=1, description="Share of a sample that must have been judged for it to say anything."
    )
    budget_per_day: int = Field(
        default=500,
        ge=1,
        description="Rows given to the judge in any 24 hours, of each task; failures and repeats count.",
    )
    wait_s: float = Field(
        default=172_800.0, gt=0, description="Seconds that a level waits for people, the budget or a judge."
    )
    cool_down_s: float = Field(
        default=21_600.0, ge=0, description="Seconds after an escalation before another may begin."
    )
    retrain_cool_down_s: float = Field(
        default=86_400.0, ge=0, description="Seconds after a retraining was asked for before another is."
    )

    @model_validator(mode="after")
    def _levels_rise(self) -> Self:
        sizes = [level.rows for level in self.levels]
        if sizes != sorted(set(sizes)):
            raise ValueError(f"levels have {sizes} rows; let each be larger than the one before it")
        return self


class MonitorConfig(Settings):
    """Watching whether the world changes."""

    enabled: bool = Field(default=True, description="Whether traffic is watched.")
    inputs: InputConfig = Field(default=InputConfig(), description="What is kept of inputs.")
    window: WindowConfig = Field(default=WindowConfig(), description="Which rows are looked at together.")
    reference: ReferenceConfig = Field(default=ReferenceConfig(), description="What windows are compared with.")
    compare: CompareConfig = Field(default=CompareConfig(), description="How they are compared.")
    alarm: AlarmConfig = Field(default=AlarmConfig(), description="When signals become an alarm.")
    repeat_s: float = Field(
        default=21_600.0,
        ge=0,
        description="Seconds until an alarm that goes on from window to window is told again.",
    )
    escalation: EscalationConfig = Field(default=EscalationConfig(), description="What an alarm leads to.")


class AlertConfig(Settings):
    """Where alarms are told: always the log, and a webhook if there is one."""

    webhook: SecretText | None = Field(
        default=None, description="http or https address that is sent each alert as JSON; it holds no texts."
    )
    secret: SecretText | None = Field(default=None, description="Key of the signature; null: not signed.")
    timeout_s: float = Field(default=5.0, gt=0, le=120, description="Seconds a delivery may take.")
    attempts: int = Field(default=8, ge=1, le=100, description="Deliveries tried before an alert is given up.")
    first_wait_s: float = Field(
        default=2.0, gt=0, le=3600, description="Seconds before the second; doubled each time, an hour at most."
    )
    max_waiting: int = Field(default=200, ge=1, le=10_000, description="Alerts that wait; the oldest go first.")
