"""Settings of A/B tests of running models: arms, what they are judged by, guard rails, rules of promotion."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from demur.config import Settings

CHAMPION = "champion"
"""Name of the champion's arm in every experiment."""
MetricName = Literal[
    "accuracy",
    "error_rate",
    "false_alarm_rate",
    "flag_rate",
    "latency_ms",
    "missed_threat_rate",
    "unsure_rate",
]
GuardMetric = Literal[
    "error_rate", "false_alarm_rate", "flag_rate", "latency_p95_ms", "missed_threat_rate", "unsure_rate"
]
Unit = Literal["subject", "row"]
LABELLED_GUARDS = ("false_alarm_rate", "missed_threat_rate")
TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ArmName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Share = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class ArmConfig(Settings):
    """A challenger."""

    name: ArmName = Field(default="challenger", description="What the arm is called in records and figures.")
    version: str = Field(min_length=1, max_length=128, description="Version of the model in the registry.")
    weight: Share = Field(default=0.5, description="Share of the traffic, by the sum of all weights.")


class GuardConfig(Settings):
    """A bound that a challenger must not pass; it is rolled back once that is shown, however early."""

    metric: GuardMetric = Field(description="What is bounded.")
    at_most: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Largest rate, or ms, that is borne."
    )
    above_champion: float | None = Field(
        default=None, ge=0, lt=1, description="Largest excess over the champion's rate, as 0.05 for 5 points."
    )
    alpha: float = Field(
        default=0.01, gt=0, lt=0.5, description="Largest chance, at all times together, that it acts without need."
    )
    unit: Unit | None = Field(
        default=None,
        description="With at_most: count every row, or as the experiment does; null: row for errors and latency.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.at_most is None) == (self.above_champion is None):
            raise ValueError(f"the guard of {self.metric} needs one of at_most and above_champion")
        if self.metric == "latency_p95_ms" and self.at_most is None:
            raise ValueError("the guard of latency_p95_ms takes at_most, in ms")
        if self.metric != "latency_p95_ms" and self.at_most is not None and self.at_most >= 1:
            raise ValueError(f"the guard of {self.metric} is a rate; give at_most below 1")
        if self.unit is not None and self.above_champion is not None:
            raise ValueError("unit goes with at_most; above_champion counts as the experiment does")
        if self.unit == "row" and self.metric in LABELLED_GUARDS:
            raise ValueError(f"the guard of {self.metric} counts as the experiment does; leave unit out")
        return self

    @property
    def counts_rows(self) -> bool:
        """Whether it counts every row; errors and latency depend on the server more than on the subject."""
        unit = self.unit or ("row" if self.metric in ("error_rate", "latency_p95_ms") else "subject")
        return self.above_champion is None and unit == "row"

    @property
    def title(self) -> str:
        """What it is called in figures and events."""
        bound = f"at most {self.at_most:g}" if self.at_most is not None else f"champion + {self.above_champion:g}"
        return f"{self.metric} {bound}"


class PromoteConfig(Settings):
    """When a challenger becomes the champion by itself."""

    rule: Literal["superior", "non_inferior", "never"] = Field(
        default="never",
        description="superior: better by more than the margin; non_inferior: not worse by the margin or more.",
    )
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="In units of the metric.")
    min_rows: int = Field(default=500, ge=1, description="Rows that must have been judged of each arm.")
    min_hours: float = Field(default=24.0, ge=0, description="Hours it must have run, so that days are in it.")

    @model_validator(mode="after")
    def _needs_a_margin(self) -> Self:
        if self.rule == "non_inferior" and not self.margin:
            raise ValueError("the rule non_inferior needs a margin above 0: how much worse is still borne")
        return self


class RollBackConfig(Settings):
    """When a challenger is given up by itself, beside guard rails."""

    rule: Literal["inferior", "never"] = Field(
        default="inferior", description="inferior: worse than the champion by more than the margin."
    )
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="In units of the metric.")


class ShadowConfig(Settings):
    """When shadows begin to answer by themselves."""

    then: Literal["running", "wait"] = Field(
        default="running",
        description="Go on to the A/B test once nothing speaks against it, or wait for a command.",
    )
    min_rows: int = Field(default=200, ge=1, description="Rows that each shadow must have judged.")
    min_hours: float = Field(default=1.0, ge=0, description="Hours it must have been a shadow.")


GUARDS = (
    GuardConfig(metric="error_rate", at_most=0.02),
    GuardConfig(metric="latency_p95_ms", at_most=1000.0),
    GuardConfig(metric="flag_rate", above_champion=0.1),
    GuardConfig(metric="unsure_rate", above_champion=0.1),
)
"""Guard rails of an experiment that names none."""


class ExperimentConfig(Settings):
    """A comparison of the champion of a task with challengers."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")] = Field(
        description="What people call it."
    )
    task: TaskName = Field(description="The task whose models are compared.")
    challengers: tuple[ArmConfig, ...] = Field(min_length=1, max_length=8, description="The other arms.")
    champion_weight: Share = Field(default=0.5, description="The champion's share of the traffic.")
    metric: MetricName = Field(default="accuracy", description="What the arms are judged by.")
    level: float = Field(
        default=0.95, gt=0.5, lt=1, description="Chance that no interval, at any time, misses the difference."
    )
    unit: Unit = Field(
        default="subject",
        description="subject: only the first row of each subject counts; row: rows are taken as independent.",
    )
    sources: tuple[Literal["user", "judge", "people"], ...] = Field(
        default=("user", "judge", "people"), min_length=1, description="Whose feedback is taken as the truth."
    )
    confirm_moves: bool = Field(
        default=True,
        description="Whether what moves by feedback must be shown without the users' labels of any one key too.",
    )
    threat_labels: tuple[str, ...] | None = Field(
        default=None, description="Labels that are a threat; null: those of the task."
    )
    latency_cap_ms: float = Field(
        default=1000.0, gt=0, le=3_600_000, description="For latency_ms: longer times count as so many ms."
    )
    promote: PromoteConfig = Field(default=PromoteConfig(), description="When a challenger is promoted.")
    roll_back: RollBackConfig = Field(default=RollBackConfig(), description="When challengers are given up.")
    shadow: ShadowConfig = Field(default=ShadowConfig(), description="When shadows begin to answer.")
    guards: tuple[GuardConfig, ...] = Field(default=GUARDS, max_length=16, description="Guard rails.")
    max_hours: float | None = Field(
        default=720.0,
        gt=0,
        description="Hours in the A/B test after which it stops without a winner; null: never.",
    )
    salt: str | None = Field(
        default=None, max_length=64, description="Key of the assignment; null: drawn when it is created."
    )

    @model_validator(mode="after")
    def _arms_differ(self) -> Self:
        names = [CHAMPION, *(arm.name for arm in self.challengers)]
        if len(set(names)) != len(names):
            raise ValueError(f"arms must have different names, and none may be '{CHAMPION}'; rename one")
        if len({arm.version for arm in self.challengers}) != len(self.challengers):
            raise ValueError("two challengers are the same version; leave one out")
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of all arms, the champion's first."""
        return (CHAMPION, *(arm.name for arm in self.challengers))

    @property
    def weights(self) -> dict[str, float]:
        """Arm to weight, as configured; commands may have changed them since."""
        return {CHAMPION: self.champion_weight} | {arm.name: arm.weight for arm in self.challengers}

    def version_of(self, arm: str) -> str:
        """Version of a challenger's model."""
        return next(one.version for one in self.challengers if one.name == arm)


class ExperimentsConfig(Settings):
    """How running experiments are evaluated."""

    every_s: float = Field(default=10.0, gt=0, le=3600, description="Seconds between two evaluations.")
    lag_s: float = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="Rows count once they are so many seconds old; what reaches the store later is not counted.",
    )
    settle_s: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Seconds after a start or change of weights whose answers do not count: workers learn of it.",
    )
    page_rows: int = Field(default=2000, ge=1, le=100_000, description="Rows read from the store at a time.")
    most_rows: int = Field(
        default=50_000, ge=1, description="Most rows evaluated at once for one experiment; the rest waits."
    )
    lease_s: float = Field(
        default=120.0, ge=1, le=3600, description="Seconds that one evaluation may keep others away."
    )
